//go:build unix

package app_test

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// dropPrivileges makes root a user whom file modes bind.
func dropPrivileges() {
	const nobody = 65534
	if os.Getuid() != 0 {
		return
	}
	if err := syscall.Setgroups(nil); err != nil {
		panic(err)
	}
	if err := syscall.Setgid(nobody); err != nil {
		panic(err)
	}
	if err := syscall.Setuid(nobody); err != nil {
		panic(err)
	}
}

func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}
