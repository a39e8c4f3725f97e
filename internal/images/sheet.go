package images

import (
	"fmt"
	"image"
	"image/color"
	"strings"
	"unicode/utf8"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// Labelled is one cell of a contact sheet: a picture, or nil for an empty
// cell, and the caption under it.
type Labelled struct {
	Picture *Picture
	Caption string
}

// SheetMargin is the white around every cell of a contact sheet, in pixels.
const SheetMargin = 8

// captionLines is the height of the caption under a cell, in pixels.
const captionLines = 16

// Sheet lays pictures out in rows on white, each shrunk to fit cell×cell
// pixels and centred, with its caption under it. A row is as high as its highest
// picture. A caption that is too long is cut; letters outside ASCII show as a
// box. All rows are as wide as the longest.
func Sheet(rows [][]Labelled, cell int) (*Picture, error) {
	columns := 0
	for _, row := range rows {
		columns = max(columns, len(row))
	}
	if columns == 0 || cell < 1 {
		return nil, fmt.Errorf("a contact sheet needs pictures and a cell of at least 1 pixel, not %d pictures a row at %d pixels", columns, cell)
	}
	height := SheetMargin
	high := make([]int, len(rows))
	for i, row := range rows {
		high[i] = rowHeight(row, cell)
		height += high[i] + captionLines + SheetMargin
	}
	sheet := New(SheetMargin+columns*(cell+SheetMargin), height)
	fill(sheet.Pix, 255)
	y := SheetMargin
	for i, row := range rows {
		for j, item := range row {
			x := SheetMargin + j*(cell+SheetMargin)
			if item.Picture != nil {
				p, err := FitWithin(item.Picture, cell)
				if err != nil {
					return nil, err
				}
				paste(sheet, over(p, 255), x+(cell-p.W)/2, y+(high[i]-p.H)/2)
			}
			caption(sheet, item.Caption, x, y+high[i], cell)
		}
		y += high[i] + captionLines + SheetMargin
	}
	return sheet, nil
}

// rowHeight is the height of a row's highest picture, as it is shown; a row
// without pictures is as high as a cell.
func rowHeight(row []Labelled, cell int) int {
	high := 0
	for _, item := range row {
		if p := item.Picture; p != nil {
			h := p.H
			if max(p.W, p.H) > cell {
				_, h = LongSide(p.W, p.H, cell)
			}
			high = max(high, h)
		}
	}
	if high == 0 {
		return cell
	}
	return high
}

// paste copies p, which must fit, to (x, y).
func paste(dst, p *Picture, x, y int) {
	for c := range 3 {
		for i := range p.H {
			copy(dst.Plane(c)[(y+i)*dst.W+x:], p.Plane(c)[i*p.W:(i+1)*p.W])
		}
	}
}

// caption writes black text, centred in width pixels from x on, under y.
func caption(dst *Picture, text string, x, y, width int) {
	face := basicfont.Face7x13
	if most := width / face.Advance; utf8.RuneCountInString(text) > most {
		dots := strings.Repeat(".", min(most, 2))
		text = string([]rune(text)[:most-len(dots)]) + dots
	}
	ink := image.NewAlpha(image.Rect(0, 0, width, captionLines))
	draw := font.Drawer{Dst: ink, Src: image.NewUniform(color.Opaque), Face: face}
	draw.Dot = fixed.Point26_6{X: (fixed.I(width) - draw.MeasureString(text)) / 2, Y: fixed.I(captionLines - 3)}
	draw.DrawString(text)
	for c := range 3 {
		plane := dst.Plane(c)
		for i := range captionLines {
			for j, a := range ink.Pix[i*ink.Stride:][:width] {
				plane[(y+i)*dst.W+x+j] *= 1 - float32(a)/255
			}
		}
	}
}
