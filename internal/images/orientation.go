package images

// orientation says how a stored picture has to be turned to be upright, as
// EXIF 2.3 defines the values 1 to 8 of tag 0x0112.
type orientation int

const upright orientation = 1

// transposed reports whether the stored picture's columns are the upright
// picture's rows.
func (o orientation) transposed() bool { return o >= 5 && o <= 8 }

// flips reports whether the stored picture is read from its right end, and
// from its bottom.
func (o orientation) flips() (x, y bool) {
	switch o {
	case 2, 8:
		return true, false
	case 3, 7:
		return true, true
	case 4, 6:
		return false, true
	}
	return false, false
}
