package optimize

import "stylenet/internal/images"

// smallest is the long side of the first scale where none is asked for: strokes
// and composition of most paintings fit into what VGG-19 sees of it.
const smallest = 256

// Scales are the sizes to go through for a result of w×h pixels, each half of
// the next; count 0 is as many as leave the first one's long side at smallest or
// more. The first one has that many steps, each later one half as many as the
// one before, and at least a tenth: it begins near its end.
func Scales(w, h, count, steps int) []Scale {
	if count < 1 {
		count = 1
		for side := max(w, h); side/2 >= smallest; side /= 2 {
			count++
		}
	}
	scales := make([]Scale, count)
	for i := range scales {
		side := max(max(w, h)>>(count-1-i), 1)
		scales[i].W, scales[i].H = images.LongSide(w, h, side)
		scales[i].Steps = max(steps>>i, (steps+9)/10)
	}
	return scales
}
