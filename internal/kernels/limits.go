package kernels

// Limits is what a Device may implement besides: what its hardware does at the
// most, measured at the moment of the call. A call takes a fraction of a
// second and needs the machine to be idle.
type Limits interface {
	// PeakFLOPS is the rate of multiply-adds, of two operations each, between
	// registers in the device's precision, on all threads, a second.
	PeakFLOPS() (float64, error)
	// Bandwidth is the rate at which memory of so many bytes is copied, read
	// and written bytes added up, a second: caches make it depend on the size.
	Bandwidth(bytes int) (float64, error)
}
