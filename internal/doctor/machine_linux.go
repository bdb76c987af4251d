package doctor

import (
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileSystems are those that do not suit, by their number in statfs(2). SQLite's locks
// and its shared memory do not hold on a file system that several machines share:
// https://www.sqlite.org/faq.html#q5 and https://www.sqlite.org/wal.html
var fileSystems = map[int64]volume{
	unix.NFS_SUPER_MAGIC:       {name: "nfs", bad: true, trouble: shares},
	unix.SMB_SUPER_MAGIC:       {name: "smb", bad: true, trouble: shares},
	unix.SMB2_SUPER_MAGIC:      {name: "smb", bad: true, trouble: shares},
	unix.CIFS_SUPER_MAGIC:      {name: "cifs", bad: true, trouble: shares},
	unix.AFS_SUPER_MAGIC:       {name: "afs", bad: true, trouble: shares},
	unix.CEPH_SUPER_MAGIC:      {name: "ceph", bad: true, trouble: shares},
	unix.V9FS_MAGIC:            {name: "9p", bad: true, trouble: shares},
	unix.FUSE_SUPER_MAGIC:      {name: "fuse", trouble: "what is behind it is not known; on storage over the network the database does not survive"},
	unix.TMPFS_MAGIC:           {name: "tmpfs", trouble: "it is lost when the machine starts anew"},
	unix.RAMFS_MAGIC:           {name: "ramfs", trouble: "it is lost when the machine starts anew"},
	unix.OVERLAYFS_SUPER_MAGIC: {name: "overlayfs", trouble: "it is the layer of a container, lost with it unless somebody keeps that"},
}

func volumeOf(dir string) (volume, bool, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return volume{}, false, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	v := fileSystems[int64(s.Type)]
	v.free, v.total = s.Bavail*uint64(s.Bsize), s.Blocks*uint64(s.Bsize)
	v.nodes, v.counted = s.Ffree, s.Files > 0
	return v, true, nil
}

// umask is that of this process. Reading it by umask(2) would change it for a moment.
func umask() (bits uint64, known bool) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "Umask:"); found {
			bits, err = strconv.ParseUint(strings.TrimSpace(value), 8, 32)
			return bits, err == nil
		}
	}
	return 0, false
}

// ownedBySomebodyElse tells the owner of a file if that is neither this user nor root.
func ownedBySomebodyElse(info fs.FileInfo) (owner uint32, is bool) {
	s, known := info.Sys().(*syscall.Stat_t)
	if !known || s.Uid == 0 || int(s.Uid) == os.Geteuid() || os.Geteuid() == 0 {
		return 0, false
	}
	return s.Uid, true
}
