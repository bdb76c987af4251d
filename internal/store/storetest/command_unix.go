//go:build unix

package storetest

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// command runs a program of the server's, which refuses to be root.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	// Ctrl-C in a terminal is for the tests, not for the server.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: account()}
	return cmd
}

// account is whom the server runs as: this user, but nobody for root.
func account() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
			gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
			if err1 == nil && err2 == nil {
				return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
			}
		}
	}
	return nil
}

// give makes a folder the server's.
func give(dir string) error {
	id := account()
	if id == nil {
		return nil
	}
	return os.Chown(dir, int(id.Uid), int(id.Gid))
}
