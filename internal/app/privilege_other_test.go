//go:build !unix

package app_test

import (
	"context"
	"os"
	"os/signal"
)

func dropPrivileges() {}

func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt)
}
