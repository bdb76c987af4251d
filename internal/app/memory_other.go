//go:build !unix

package app

import "runtime"

// peakMemory is about the most memory that the process has held, in bytes: what
// the Go runtime has taken from the system and never gives back.
func peakMemory() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}
