// Package layering holds, in its tests, what every package of the module has
// to keep: which packages may import which, an opening comment, and no state
// shared by a whole package.
//
// It owns the table of imports and refuses to be imported.
package layering
