package images

// Metadata is what is carried from a picture file to one that is made of it.
// The zero value is nothing.
type Metadata struct {
	// ICC is an ICC profile for RGB (ICC.1), byte for byte as it was found.
	ICC []byte
	// EXIF is a TIFF structure as EXIF 2.3 says, without the orientation and the
	// thumbnail.
	EXIF []byte
}
