package certstore

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// access is who may read the files.
func (d *directory) access() (access, error) {
	a := access{d.reference.Mode, -1}
	name := d.reference.Group
	if name == "" {
		return a, nil
	}
	if g, err := user.LookupGroup(name); err == nil {
		name = g.Gid
	}
	var err error
	if a.group, err = strconv.Atoi(name); err != nil || a.group < 0 {
		return a, fmt.Errorf("there is no group %.60q on this machine: make it, or give its number", d.reference.Group)
	}
	return a, nil
}

// giveFolder gives a folder that was just made the access that its files have: its
// owner's to change, and for whom may read the files to go through.
func (p *privateFolder) giveFolder(name string, a access) error {
	f, err := p.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return a.through().give(f)
}

// through is the access of a folder whose files have the access a.
func (a access) through() access {
	t := access{0o700, a.group}
	if a.mode&0o040 != 0 {
		t.mode |= 0o050
	}
	return t
}

// passes reports whether the members of a's group may go through a folder, as far as its
// mode says.
func (a access) passes(folder fs.FileInfo) bool {
	if groupOf(folder) == a.group {
		return folder.Mode()&0o010 != 0
	}
	return folder.Mode()&0o001 != 0
}

// admit sees to it that the group, if there is one, can go to what is in the folder. One
// that holds reeve's work alone is given to the group, or with change false would be; any
// other folder is left as it is, and said with the commands that mend it.
func (p *privateFolder) admit(a access, change bool) error {
	if a.group < 0 {
		return nil
	}
	info, err := p.root.Stat(".")
	if err != nil {
		return err
	}
	if !a.passes(info) {
		entries, err := p.names(".")
		if err != nil {
			return err
		}
		for _, e := range entries {
			if name := e.Name(); name != currentName && name != previousName && name != lockName && !generation.MatchString(name) && !isLeftover(name) {
				return fmt.Errorf("group %d cannot go into %s, in which reeve does not change the permissions, since it holds %s, too: chgrp %d %s && chmod g+x %s, or name a folder for the certificate alone",
					a.group, p.path, name, a.group, p.path, p.path)
			}
		}
		if change {
			if err := p.giveFolder(".", a); err != nil {
				return err
			}
		}
	}
	return a.reaches(p.path)
}

// reaches reports a folder above path that is its owner's alone, so that the group cannot
// come by. One of another group is believed to be right: members may be in that, too.
func (a access) reaches(path string) error {
	at, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for at != filepath.Dir(at) {
		at = filepath.Dir(at)
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		if !a.passes(info) && (groupOf(info) == a.group || info.Mode()&0o010 == 0) {
			return fmt.Errorf("group %d cannot go to %s through %s, whose mode is %04o: chmod o+x %s, or publish elsewhere", a.group, path, at, info.Mode().Perm(), at)
		}
	}
	return nil
}
