package images

import "stylenet/internal/images/metadata"

// Metadata is what is carried from a picture file to one that is made of it: an
// ICC profile and EXIF. The zero value is nothing.
type Metadata = metadata.Metadata
