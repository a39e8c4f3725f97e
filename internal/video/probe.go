package video

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Input is what is read: a file, a URL, or a device.
type Input struct {
	Name string // a path, a URL, or a device's name
	// Format is ffmpeg's name of the format, needed for devices alone: v4l2,
	// avfoundation, dshow, lavfi.
	Format string
	// Options are ffmpeg's for that input, as KEY=VALUE: framerate=30.
	Options []string
}

// args are ffmpeg's arguments that open the input.
func (in Input) args() []string {
	var args []string
	if in.Format != "" {
		args = append(args, "-f", in.Format)
	}
	for _, o := range in.Options {
		key, value, _ := strings.Cut(o, "=")
		args = append(args, "-"+key, value)
	}
	name := in.Name
	if in.Format == "" && !isURL(name) {
		name = target(name)
	}
	return append(args, "-i", name)
}

// Rational is a fraction of whole numbers.
type Rational struct{ Num, Den int64 }

// Float is its value, 0 where there is none.
func (r Rational) Float() float64 {
	if r.Den == 0 {
		return 0
	}
	return float64(r.Num) / float64(r.Den)
}

func (r Rational) String() string { return fmt.Sprintf("%d/%d", r.Num, r.Den) }

func parseRational(s string) Rational {
	n, d, ok := strings.Cut(s, "/")
	if !ok {
		n, d, _ = strings.Cut(s, ":")
	}
	num, err1 := strconv.ParseInt(n, 10, 64)
	den, err2 := strconv.ParseInt(d, 10, 64)
	if err1 != nil || err2 != nil || num <= 0 || den <= 0 {
		return Rational{}
	}
	return Rational{num, den}
}

// Info is what is known of an input before it is decoded.
type Info struct {
	W, H     int      // of a frame as it is shown: after rotation
	Rate     Rational // frames a second, on average; 0/0 where it is not known
	Seconds  float64  // the length, 0 where it is not known
	Frames   int      // how many there are, about; 0 where it is not known
	Live     bool     // it can be read once alone: a camera, a stream
	Notes    []string // what of it cannot be kept, in words
	rotation int      // degrees
	stream   int      // the number of the video
	aspect   Rational // of a pixel as it is shown; 0/0 for square ones
	hdr      bool
	color    color
	others   []stream
}

// color is how the numbers of a frame are light.
type color struct{ Matrix, Range, Primaries, Transfer string }

// stream is one that goes beside the picture.
type stream struct {
	index       int
	kind, codec string // audio, subtitle, attachment
	language    string
	text        bool // of subtitles, not pictures
}

// probed is what ffprobe prints.
type probed struct {
	Streams []struct {
		Index        int
		CodecType    string `json:"codec_type"`
		CodecName    string `json:"codec_name"`
		Width        int
		Height       int
		PixFmt       string `json:"pix_fmt"`
		Bits         string `json:"bits_per_raw_sample"`
		Aspect       string `json:"sample_aspect_ratio"`
		FieldOrder   string `json:"field_order"`
		ColorRange   string `json:"color_range"`
		ColorSpace   string `json:"color_space"`
		Transfer     string `json:"color_transfer"`
		Primaries    string `json:"color_primaries"`
		AvgFrameRate string `json:"avg_frame_rate"`
		RFrameRate   string `json:"r_frame_rate"`
		NBFrames     string `json:"nb_frames"`
		Duration     string
		Tags         map[string]string
		Disposition  map[string]int
		SideData     []struct {
			Type     string `json:"side_data_type"`
			Rotation float64
		} `json:"side_data_list"`
	}
	Format struct {
		Duration string
	}
}

// Probe asks ffprobe what an input is.
func (t *Tools) Probe(ctx context.Context, in Input) (*Info, error) {
	args := append([]string{"-v", "error", "-show_streams", "-show_format", "-of", "json"}, in.args()...)
	out, err := t.output(ctx, t.ffprobe, args...)
	if cause := ctx.Err(); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, fmt.Errorf("%s: ffprobe cannot read it: %s", in.Name, strings.TrimPrefix(err.Error(), target(in.Name)+": "))
	}
	var p probed
	if err := json.Unmarshal(out, &p); err != nil {
		return nil, fmt.Errorf("%s: what ffprobe says of it: %w", in.Name, err)
	}
	info := &Info{stream: -1}
	for _, s := range p.Streams {
		switch {
		case s.CodecType == "video" && s.Disposition["attached_pic"] == 0 && info.stream < 0:
			info.stream, info.W, info.H = s.Index, s.Width, s.Height
			if info.Rate = parseRational(s.AvgFrameRate); info.Rate.Den == 0 {
				info.Rate = parseRational(s.RFrameRate)
			}
			info.Seconds = seconds(s.Duration, p.Format.Duration, s.Tags["DURATION"])
			if n, err := strconv.Atoi(s.NBFrames); err == nil {
				info.Frames = n
			}
			info.aspect = parseRational(s.Aspect)
			if info.aspect.Num == info.aspect.Den {
				info.aspect = Rational{}
			}
			info.color = color{known(s.ColorSpace), known(s.ColorRange), known(s.Primaries), known(s.Transfer)}
			rotation := s.Tags["rotate"]
			for _, d := range s.SideData {
				if d.Type == "Display Matrix" {
					rotation = fmt.Sprint(int(math.Round(d.Rotation)))
				}
			}
			info.rotation, _ = strconv.Atoi(rotation)
			info.describe(s.PixFmt, s.Bits, s.FieldOrder)
		case s.CodecType == "video":
			if s.Disposition["attached_pic"] == 0 {
				info.Notes = append(info.Notes, "it has several pictures, and the first one is taken")
			}
		case s.CodecType == "audio", s.CodecType == "subtitle", s.CodecType == "attachment":
			info.others = append(info.others, stream{
				index: s.Index, kind: s.CodecType, codec: s.CodecName, language: s.Tags["language"],
				text: slices.Contains([]string{"subrip", "ass", "ssa", "mov_text", "webvtt", "text", "srt"}, s.CodecName),
			})
		}
	}
	if info.stream < 0 || info.W < 1 || info.H < 1 {
		return nil, fmt.Errorf("%s: it holds no video", in.Name)
	}
	if info.rotation%180 != 0 && info.rotation%90 == 0 {
		info.W, info.H = info.H, info.W
		info.aspect.Num, info.aspect.Den = info.aspect.Den, info.aspect.Num
	}
	if info.Frames == 0 {
		info.Frames = int(math.Round(info.Seconds * info.Rate.Float()))
	}
	info.Live = !regular(in.Name) && (in.Format != "" || info.Seconds == 0)
	if info.Live && len(info.others) > 0 {
		info.Notes = append(info.Notes, "it can be read once alone: its picture is taken, without sound")
		info.others = nil
	}
	return info, nil
}

// describe notes what becomes of pictures that are not of 8 bits.
func (info *Info) describe(pixels, bits, field string) {
	depth, _ := strconv.Atoi(bits)
	for _, d := range []string{"10", "12", "14", "16"} {
		if strings.Contains(pixels, "p"+d) || strings.Contains(pixels, "0"+d) && strings.HasPrefix(pixels, "p") {
			depth, _ = strconv.Atoi(d)
		}
	}
	info.hdr = slices.Contains([]string{"smpte2084", "arib-std-b67"}, info.color.Transfer)
	switch {
	case info.hdr:
		info.Notes = append(info.Notes, fmt.Sprintf("its brightness is high dynamic range (%s): it is mapped to the standard range, BT.709", info.color.Transfer))
	case depth > 8:
		info.Notes = append(info.Notes, fmt.Sprintf("it has %d bits a colour, and the result has 8", depth))
	}
	for _, alpha := range []string{"rgba", "bgra", "argb", "abgr", "yuva", "gbrap", "ya8", "ya16"} {
		if strings.HasPrefix(pixels, alpha) {
			info.Notes = append(info.Notes, "its transparency is left out")
		}
	}
	if slices.Contains([]string{"tt", "bb", "tb", "bt"}, field) {
		info.Notes = append(info.Notes, "it is interlaced, and is painted as if it were not: take the fields apart first (ffmpeg -vf bwdif)")
	}
}

// matrix is how YUV is made of RGB, by ffmpeg's name in its scaler. Where a clip
// does not say, it is what players take it for.
func (info *Info) matrix() string {
	switch m := info.color.Matrix; m {
	case "bt709", "fcc", "smpte170m", "smpte240m":
		return m
	case "bt470bg":
		return "bt470"
	case "bt2020nc", "bt2020c":
		return "bt2020"
	}
	if info.H > 576 || info.W > 1024 {
		return "bt709"
	}
	return "smpte170m"
}

// known is a property that ffprobe knows, or "".
func known(s string) string {
	if s == "unknown" || s == "unspecified" || s == "reserved" {
		return ""
	}
	return s
}

// seconds is the first length that can be read: of seconds, or h:m:s.
func seconds(texts ...string) float64 {
	for _, text := range texts {
		total := 0.
		ok := text != ""
		for part := range strings.SplitSeq(text, ":") {
			v, err := strconv.ParseFloat(part, 64)
			ok = ok && err == nil
			total = total*60 + v
		}
		if ok && total > 0 && !math.IsInf(total, 0) {
			return total
		}
	}
	return 0
}
