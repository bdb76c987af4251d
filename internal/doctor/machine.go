package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/reeve365/reeve/internal/m365"
)

// trap is a variable that misleads somebody.
type trap struct {
	of           string
	when         func(*Doctor) bool
	seen, remedy string
}

// set reports whether a variable is set to something.
func set(names ...string) func(*Doctor) bool {
	return func(d *Doctor) bool {
		return slices.ContainsFunc(names, func(n string) bool { return d.env[strings.ToUpper(n)] != "" })
	}
}

// differs reports whether a variable is set to something else than a setting.
func differs(name string, setting func(*Doctor) string) func(*Doctor) bool {
	return func(d *Doctor) bool {
		is, want := d.env[name], setting(d)
		return is != "" && want != "" && !strings.EqualFold(strings.TrimSuffix(is, "/"), strings.TrimSuffix(want, "/"))
	}
}

// traps are the variables that mislead, in the order in which they are shown. Their
// values are never: some are secret.
var traps = []trap{
	{
		"AZURE_CLIENT_SECRET", func(d *Doctor) bool { return d.Method == m365.MethodCertificate && set("AZURE_CLIENT_SECRET")(d) },
		"set, and reeve signs in with a certificate. reeve does not use it; a program that uses the default chain of the Azure SDK takes the secret before any certificate",
		"unset it, so that no program signs in with the secret",
	},
	{
		"AZURE_CLIENT_CERTIFICATE_PATH", func(d *Doctor) bool {
			is, want := d.env["AZURE_CLIENT_CERTIFICATE_PATH"], d.Certificate
			return d.Method == m365.MethodCertificate && is != "" && filepath.Clean(is) != filepath.Clean(want)
		},
		"set to another file than auth.certificate, which counts for reeve; programs with the Azure SDK use this one",
		"set both to the same file, or unset it",
	},
	{
		"AZURE_TENANT_ID", differs("AZURE_TENANT_ID", func(d *Doctor) string { return d.TenantID }),
		"names another tenant than tenant-id, which counts for reeve", "set both alike, or unset it",
	},
	{
		"AZURE_CLIENT_ID", differs("AZURE_CLIENT_ID", func(d *Doctor) string { return d.ClientID }),
		"names another application than client-id, which counts for reeve; on a machine with several managed identities it chooses one of them for other programs",
		"set both alike, or unset it",
	},
	{
		"AZURE_AUTHORITY_HOST", differs("AZURE_AUTHORITY_HOST", func(d *Doctor) string { return d.Cloud.AuthorityHost }),
		"names another sign-in host than reeve's cloud has; programs with the Azure SDK sign in there", "unset it, or choose the cloud that is meant by cloud",
	},
	{
		"SSL_CERT_FILE", set("SSL_CERT_FILE", "SSL_CERT_DIR"),
		"SSL_CERT_FILE or SSL_CERT_DIR is set, and replaces the system's authorities: what the file lacks is not trusted",
		"use ca-file, which adds to the system's authorities",
	},
	{
		"TZ", func(d *Doctor) bool {
			tz := strings.TrimPrefix(d.env["TZ"], ":")
			if tz == "" || filepath.IsAbs(tz) {
				return false
			}
			_, err := time.LoadLocation(tz)
			return err != nil
		},
		"names no time zone that is known here, so that local times are UTC; the database holds UTC in any case", "set it to a name such as Europe/Berlin, or unset it",
	},
	{
		"GODEBUG", set("GODEBUG"),
		"set: it changes how names are resolved, certificates are judged or connections are made", "unset it, unless somebody knows what for",
	},
	{
		"HTTPS_PROXY", func(d *Doctor) bool { return set("HTTP_PROXY")(d) && !set("HTTPS_PROXY")(d) },
		"HTTP_PROXY is set and HTTPS_PROXY is not: all hosts are asked by https, so that no proxy is used", "set HTTPS_PROXY to the same, if a proxy is meant",
	},
	{
		"ALL_PROXY", func(d *Doctor) bool { return set("ALL_PROXY")(d) && !set("HTTPS_PROXY")(d) },
		"set, which reeve does not read", "set HTTPS_PROXY, if a proxy is meant",
	},
	{
		"NO_PROXY", func(d *Doctor) bool {
			return slices.ContainsFunc(strings.Split(d.env["NO_PROXY"], ","), func(s string) bool {
				return strings.Contains(s, "://") || strings.Contains(strings.TrimSpace(s), " ") || strings.Contains(s, ";")
			})
		},
		"has entries that are no host: an address with https://, or entries that are not separated by commas", "write host names, separated by commas, without https://",
	},
	{
		"UseClientCertificate", set("UseClientCertificate", "ClientSecret", "WEBSITE_LOAD_USER_PROFILE", "ImportJobSettings", "TenantGUID", "KeyVaultUrl", "AADInstance"),
		"variables of the original engine are set; reeve reads what it has no setting of its own for, and 'reeve config show' says which",
		"move them to settings of reeve's, and unset them",
	},
}

func (d *Doctor) environment() []task {
	var tasks []task
	for _, t := range traps {
		if t.when(d) {
			tasks = append(tasks, task{t.of, fixed(Warning.because(t.seen, t.remedy, operator))})
		}
	}
	if tasks == nil {
		return []task{{run: fixed(ok("no variable misleads"))}}
	}
	return tasks
}

// files looks at who may read what is secret.
func (d *Doctor) files() []task {
	var tasks []task
	for _, f := range d.Files {
		tasks = append(tasks, task{f.Path, func(context.Context) Result { return lookAt(f) }})
	}
	if bits, known := umask(); known && bits&0o022 != 0o022 {
		tasks = append(tasks, task{"umask", fixed(Warning.because(fmt.Sprintf("%04o: files that other programs make beside reeve's can be changed by others; reeve gives its own their modes", bits),
			"set umask 0077 for the service", machine))})
	}
	if tasks == nil {
		return []task{{run: fixed(skip("no file with a key is configured"))}}
	}
	return tasks
}

func lookAt(f File) Result {
	info, err := os.Stat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.Made:
		return ok("%s: not there yet; reeve makes it", f.What)
	case errors.Is(err, fs.ErrNotExist):
		return Failed.because(f.What+": there is no such file", "look at the setting, and at what the service may see of the file system", operator)
	case err != nil:
		return Failed.because(f.What+": it cannot be looked at: "+reason(err), "give this user the right to its folder", machine)
	}
	mode := info.Mode().Perm()
	if !modes {
		return skip("%s: who may read it is not known on this system", f.What)
	}
	if owner, known := ownedBySomebodyElse(info); known {
		return Warning.because(fmt.Sprintf("%s: it belongs to the user %d, neither to reeve's nor to root", f.What, owner), "give it to the user that reeve runs as, or to root", machine)
	}
	tighten := "chmod 600"
	if info.IsDir() {
		tighten = "chmod 700"
	}
	switch {
	case mode&0o022 != 0:
		return Failed.because(fmt.Sprintf("%s: mode %04o, others can change it", f.What, mode), tighten+" it, and put the key in question out of use", machine)
	case mode&0o007 != 0:
		return Warning.because(fmt.Sprintf("%s: mode %04o, everybody on this machine can read it", f.What, mode), tighten+" it, and renew what it holds; in a container with one user it may be meant", machine)
	case mode&0o070 != 0:
		return Warning.because(fmt.Sprintf("%s: mode %04o, its group can read it", f.What, mode), tighten+" it, unless the group is meant", machine)
	}
	if file, err := os.Open(f.Path); err != nil {
		return Failed.because(f.What+": this user cannot read it", "give it to the user that reeve runs as", machine)
	} else {
		file.Close()
	}
	return ok("%s: mode %04o", f.What, mode)
}

// modes: files have modes here that say who may read them.
const modes = runtime.GOOS != "windows"

func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// volume is the file system that a folder is in.
type volume struct {
	name        string // "nfs"; empty if it is not known
	trouble     string // why it does not suit; empty if it does
	bad         bool   // a database does not survive it
	free, total uint64 // bytes that reeve may use
	nodes       uint64 // files that can still be made
	counted     bool   // nodes is known
}

const shares = "a file system over the network, on which SQLite's locks do not hold and the database is damaged"

const (
	roomLeast  = 256 << 20 // below it nothing goes on
	roomWanted = 2 << 30
	nodesLeast = 1000
)

// disks looks at the file systems of the database and of what else is written.
func (d *Doctor) disks() []task {
	type place struct{ what, dir string }
	var places []place
	if d.Database != "" {
		places = append(places, place{"database", filepath.Dir(d.Database)})
	}
	for _, f := range d.Files {
		if f.Made {
			places = append(places, place{"keys", filepath.Dir(f.Path)})
		}
	}
	places = append(places, place{"temporary files", os.TempDir()})
	var tasks []task
	var dirs []string
	for _, p := range places {
		if slices.Contains(dirs, p.dir) {
			continue
		}
		dirs = append(dirs, p.dir)
		tasks = append(tasks, task{p.dir, func(context.Context) Result { return room(p.what, p.dir) }})
	}
	return tasks
}

func room(what, dir string) Result {
	for { // the folder may still have to be made
		_, err := os.Stat(dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	v, known, err := volumeOf(dir)
	switch {
	case err != nil:
		return Failed.because(fmt.Sprintf("the folder for %s cannot be looked at: %s", what, reason(err)), "look at the setting, and at the rights of its folder", machine)
	case !known:
		return skip("free space is not known on this system")
	}
	return v.judge(what)
}

func (v volume) judge(what string) Result {
	seen := fmt.Sprintf("%s: %s free of %s", what, size(v.free), size(v.total))
	if v.name != "" {
		seen += ", " + v.name
	}
	switch {
	case v.trouble != "" && v.bad && what == "database":
		return Failed.because(seen+": "+v.trouble, "put the database on a disk of this machine (database.url)", machine)
	case v.free < roomLeast:
		return Failed.because(seen+": too little", "make room, or set database.url to a larger disk", machine)
	case v.counted && v.nodes < nodesLeast:
		return Failed.because(fmt.Sprintf("%s, and only %d more files can be made there (inodes)", seen, v.nodes), "remove small files that nobody needs", machine)
	case v.trouble != "" && what != "temporary files":
		return Warning.because(seen+": "+v.trouble, "put it on a disk of this machine that stays", machine)
	case v.free < roomWanted && what == "database":
		return Warning.because(seen+": it may be full soon", "make room: the import takes about as much each day as the database has grown since yesterday", machine)
	}
	return ok("%s", seen)
}

// size is a number of bytes for people.
func size(n uint64) string {
	for _, u := range []struct {
		of   uint64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}} {
		if n >= u.of {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.of), u.name)
		}
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// database opens the database as it is, without changing it.
func (d *Doctor) database(ctx context.Context) Result {
	if d.Look == nil {
		return skip("no database is configured")
	}
	if _, err := os.Stat(d.Database); d.Database != "" && errors.Is(err, fs.ErrNotExist) {
		return newDatabase(filepath.Dir(d.Database))
	}
	seen, err := d.Look(ctx)
	if err == nil {
		return ok("%s", seen)
	}
	remedy := "look at database.url"
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		remedy = hinted.Hint()
	}
	return Failed.because(err.Error(), remedy, operator)
}

// newDatabase sees whether a database can be made in a folder.
func newDatabase(dir string) Result {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return ok("there is none yet; reeve makes it, and its folder")
	}
	f, err := os.CreateTemp(dir, ".reeve-doctor-*")
	if err != nil {
		return Failed.because("there is none yet, and none can be made: "+reason(err), "give this user the right to write to the folder of database.url", machine)
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return Warning.because("a file that was made to try the folder cannot be removed: "+reason(err), "see the rights of the folder of database.url", machine)
	}
	return ok("there is none yet; its folder can be written")
}

// Origin is the scheme and host of an address, without what may be secret in it; empty
// when it is none.
func Origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Free is the room on the disk that a folder is on, if it is known here.
func Free(dir string) (bytes uint64, known bool) {
	v, known, err := volumeOf(dir)
	return v.free, known && err == nil
}
