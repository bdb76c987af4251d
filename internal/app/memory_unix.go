//go:build unix

package app

import (
	"runtime"
	"syscall"
)

// peakMemory is the most memory that the process has held, in bytes.
func peakMemory() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	peak := int64(u.Maxrss)
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		peak *= 1024 // elsewhere it counts KiB
	}
	return peak
}
