//go:build unix

package main

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// measurable tells whether this system says what a process has used.
const measurable = true

// processorTime is the time that this process has spent on processors until now,
// in the kernel or not.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the most memory that an ended process has held, in bytes.
func peakMemory(p *os.ProcessState) int64 {
	u, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	peak := int64(u.Maxrss)
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		peak *= 1024 // elsewhere it counts KiB
	}
	return peak
}
