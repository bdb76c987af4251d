package pkcs12

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/hex"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRC2 is the test vectors of RFC 2268, section 5.
func TestRC2(t *testing.T) {
	for _, v := range []struct {
		bits               int
		key, plain, cipher string
	}{
		{63, "0000000000000000", "0000000000000000", "ebb773f993278eff"},
		{64, "ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"},
		{64, "3000000000000000", "1000000000000001", "30649edf9be7d2c2"},
		{64, "88", "0000000000000000", "61a8a244adacccf0"},
		{64, "88bca90e90875a", "0000000000000000", "6ccf4308974c267f"},
		{64, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "1a807d272bbe5db1"},
		{128, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"},
		{129, "88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e", "0000000000000000", "5b78d3a43dfff1f1"},
	} {
		c := newRC2(unhex(t, v.key), v.bits)
		out := make([]byte, 8)
		c.Encrypt(out, unhex(t, v.plain))
		if hex.EncodeToString(out) != v.cipher {
			t.Errorf("key %s, %d bits: encrypted to %x, want %s", v.key, v.bits, out, v.cipher)
		}
		c.Decrypt(out, unhex(t, v.cipher))
		if hex.EncodeToString(out) != v.plain {
			t.Errorf("key %s, %d bits: decrypted to %x, want %s", v.key, v.bits, out, v.plain)
		}
	}
}

// TestPKCS12KDF is known answers for SHA-1 that have long been passed round (the
// password "smeg", and one of the examples of a draft of PKCS#12, "queeg").
func TestPKCS12KDF(t *testing.T) {
	for _, v := range []struct {
		password   string
		salt       string
		purpose    byte
		iterations int
		want       string
	}{
		{"smeg", "0a58cf64530d823f", forKey, 1, "8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3"},
		{"smeg", "0a58cf64530d823f", forIV, 1, "79993dfe048d3b76"},
		{"smeg", "642b99ab44fb4b1f", forKey, 1, "f3a95fec48d7711e985cfe67908c5ab79fa3d7c5caa5d966"},
		{"smeg", "642b99ab44fb4b1f", forIV, 1, "c0a38d64a79bea1d"},
		{"smeg", "3d83c0e4546ac140", forMAC, 1, "8d967d88f6caa9d714800ab3d48051d63f73a312"},
		{"queeg", "05dec959acff72f7", forKey, 1000, "ed2034e36328830ff09df1e1a07dd357185dac0d4f9eb3d4"},
		{"queeg", "05dec959acff72f7", forIV, 1000, "11dedad7758d4860"},
		{"queeg", "1682c0fc5b3f7ec5", forKey, 1000, "483dd6e919d7de2e8e648ba8f862f3fbfbdc2bcb2c02957f"},
		{"queeg", "1682c0fc5b3f7ec5", forIV, 1000, "9d461d1b00355c50"},
		{"queeg", "263216fcc2fab31c", forMAC, 1000, "5ec4c7a80df652294c3925b6489a7ab857c83476"},
	} {
		want := unhex(t, v.want)
		got := pkcs12KDF(dSHA1, bmpPasswords(v.password)[0], unhex(t, v.salt), v.purpose, v.iterations, len(want))
		if !bytes.Equal(got, want) {
			t.Errorf("%s, %d, %d rounds: got %x, want %x", v.password, v.purpose, v.iterations, got, want)
		}
	}
}

func TestPasswordSpellings(t *testing.T) {
	for _, v := range []struct {
		password string
		bmp      string // the RFC's way
		others   int    // further ways
	}{
		{"Beavis", "0042006500610076006900730000", 0},
		{"", "0000", 1},
		{"Zoë", "005a006f00eb0000", 1},
		{"a😀", "0061d83dde000000", 1}, // beyond the BMP
	} {
		ways := bmpPasswords(v.password)
		if hex.EncodeToString(ways[0]) != v.bmp || len(ways) != v.others+1 {
			t.Errorf("%q: %x", v.password, ways)
		}
	}
	if ways := bytePasswords("Zoë"); len(ways) != 4 || !bytes.Equal(ways[3], []byte("Zo\xeb")) || string(ways[0]) != "Zoë" {
		t.Errorf("%x", ways)
	}
}

func TestDER(t *testing.T) {
	for _, v := range []struct{ name, ber, der, rest string }{
		{"DER", "3003020105", "3003020105", ""},
		{"rest", "3003020105ff", "3003020105", "ff"},
		{"indefinite length", "30800201050000", "3003020105", ""},
		{"both, nested", "308030800201050000a0800000000000", "", ""},
		{"nested, with rest", "30803080020105000004010000000a", "30083003020105040100", "0a"},
		{"long length", "308300000402810105", "3003020105", ""},
		{"string in pieces", "24800401610402626300000000", "0403616263", "0000"},
		{"string in pieces of pieces", "240b24800401610000" + "04020102", "0403610102", ""},
		{"pieces that are no strings", "2403020105", "", ""},
		{"cut", "30030201", "", ""},
		{"cut within a length", "3082", "", ""},
		{"no end of contents", "3080020105", "", ""},
		{"indefinite and primitive", "0480", "", ""},
		{"absurd length", "3085ffffffffff", "", ""},
		{"long tag", "1f8101020500", "", ""},
		{"nothing", "", "", ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			der, rest, err := DER(unhex(t, v.ber))
			if v.der == "" && err == nil && v.name != "both, nested" {
				t.Fatalf("got %x, want an error", der)
			}
			if v.der != "" && (hex.EncodeToString(der) != v.der || hex.EncodeToString(rest) != v.rest) {
				t.Errorf("got %x, rest %x, %v; want %s, %s", der, rest, err, v.der, v.rest)
			}
		})
	}
	if _, _, err := DER(bytes.Repeat([]byte{0x30, 0x80}, 1<<19)); err == nil {
		t.Error("took what nests without end")
	}
}

func scryptAlgorithm(t testing.TB, n, r, p int) pkix.AlgorithmIdentifier {
	t.Helper()
	a, err := algorithm(oidScrypt, struct {
		Salt    []byte
		N, R, P int
	}{[]byte("salt"), n, r, p})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func BenchmarkRounds(b *testing.B) {
	for _, d := range digests {
		b.Run(d.name, func(b *testing.B) {
			for b.Loop() {
				pkcs12KDF(d, []byte("password"), []byte("salt"), forKey, 60_000/d.weight, d.new().Size())
			}
		})
	}
	b.Run("scrypt", func(b *testing.B) {
		const n, r = 1 << 14, 8
		k, err := readKDF(scryptAlgorithm(b, n, r, 1), 32)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := k.derive([]byte("password"), 32); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(k.cost)*60_000, "ns/60k-cost")
	})
}

func FuzzBER(f *testing.F) {
	for _, seed := range []string{"3003020105", "30800201050000", "24800401610402626300000000", "308300000302810105", "3080308002010500000401000000"} {
		f.Add(unhex(f, seed))
	}
	f.Fuzz(func(t *testing.T, ber []byte) {
		der, rest, err := DER(ber)
		if err != nil {
			return
		}
		if len(der)+len(rest) > len(ber)+8 {
			t.Errorf("%d bytes became %d", len(ber), len(der)+len(rest))
		}
		again, rest, err := DER(der)
		if err != nil || len(rest) > 0 || !bytes.Equal(again, der) {
			t.Errorf("%x became %x, and that %x: %v", ber, der, again, err)
		}
	})
}
