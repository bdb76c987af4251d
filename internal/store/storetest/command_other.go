//go:build !unix

package storetest

import "os/exec"

// command would run a program of the server's, which is not started here: see find.
func (s *Server) command(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) }

func give(string) error { return nil }
