package emulatortest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// NodePackages returns the folder in which ./test installed the npm packages that a
// folder's package-lock.json names. Without them, or Node.js, the test is skipped.
func NodePackages(t testing.TB, folder string) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("Node.js is not installed; ./test installs it")
	}
	lock, err := os.ReadFile(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip("there is no cache directory: ", err)
	}
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, "reeve-test", "clients-"+hex.EncodeToString(sum[:8]))
	// npm writes this file when it has installed everything.
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err != nil {
		t.Skipf("the npm packages of %s are not installed; ./test installs them", folder)
	}
	return dir
}
