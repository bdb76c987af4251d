package token_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reeve365/reeve/internal/emulator/token"
)

func TestKeysAreKept(t *testing.T) {
	keys, err := token.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Roll(true); err != nil {
		t.Fatal(err)
	}
	saved, err := keys.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	again, err := token.RestoreKeys(saved)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keys.JWKS("i", "c"), again.JWKS("i", "c")); diff != "" {
		t.Error(diff)
	}
	for _, damaged := range []string{"", "null", "[]", "[{},{}]", string(saved[:len(saved)-1]), `[{"certificate":"AAAA","key":"AAAA"},{}]`} {
		if _, err := token.RestoreKeys([]byte(damaged)); err == nil {
			t.Errorf("keys out of %.40q", damaged)
		}
	}
}
