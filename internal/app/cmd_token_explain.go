package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/pki"
	"github.com/reeve365/reeve/internal/sample"
)

// explainFlags are those of reeve token --explain.
type explainFlags struct {
	explain, reveal bool
	as              string
}

func (f explainFlags) check(cmd *cobra.Command, claims, asJSON bool) error {
	asked := cmd.Flags().Changed("as")
	switch {
	case !f.explain && (asked || f.reveal):
		return failWith(exitUsage, "--as and --reveal are for --explain: give it too")
	case f.explain && claims:
		return wrongFlag("claims", errors.New("given together with --explain, which tells the claims"))
	case asked && asJSON:
		return wrongFlag("json", errors.New("given together with --as: both want standard output"))
	case asked:
		return oneOf("as", f.as, sample.Forms())
	}
	return nil
}

// explainToken shows the request for a token, and the answer unless the request is only
// to be printed.
func (p *program) explainToken(ctx context.Context, a *App, s m365.SignIn, audience string, asJSON bool, f explainFlags) error {
	if s.Method != m365.MethodCertificate {
		return failWith(exitConfig, "auth.method is %s, and only the request with a certificate can be explained: set it to certificate, or leave --explain out", s.Method)
	}
	prover := &m365.Prover{Cloud: a.Cloud, HTTP: a.http, Now: p.now}
	r := m365.ProofRequest{TenantID: s.TenantID, ClientID: s.ClientID, Pair: s.Pair, Resource: audience, SendChain: s.SendChain}
	signed, err := prover.SignedRequest(r)
	if err != nil {
		return coded{exitSignIn, err}
	}
	if f.as != "" {
		return p.printRequest(a, prover.Request(r), signed, s.Pair, f)
	}
	exchange, err := sample.Explain(signed, pki.Describe(s.Pair.Certificate, p.now()), f.reveal)
	if err != nil {
		return err
	}
	token, proof, refused := prover.Token(ctx, r)
	if err := exchange.Answered(token.Token, proof, refused, f.reveal); err != nil {
		return err
	}
	if asJSON {
		err = printJSON(p.Out, exchange)
	} else {
		_, err = fmt.Fprint(p.Out, exchange.Text())
	}
	return errors.Join(refused, err)
}

// printRequest prints the request in a form in which it can be run.
func (p *program) printRequest(a *App, request, signed m365.TokenRequest, pair pki.Pair, f explainFlags) error {
	script := sample.Script{Request: request}
	var err error
	if a.Config.CAFile != "" {
		if script.CAFile, err = filepath.Abs(a.Config.CAFile); err != nil {
			return err
		}
	}
	switch {
	case f.reveal:
		script.Request = signed
		_, claims, err := m365.Claims(signed.Form.Get("client_assertion"))
		if err != nil {
			return err
		}
		if script.Until, err = ends(claims); err != nil {
			return err
		}
		fmt.Fprintf(p.Err, "note: what is printed has a ready assertion in it. Until %s whoever has it gets a token: keep it secret\n", script.Ends())
	case f.as != "http":
		if script.Path, err = p.pemFile(a.Config.Auth.Certificate, pair); err != nil {
			return err
		}
	}
	text, err := script.In(f.as)
	if err != nil {
		return coded{exitConfig, err}
	}
	_, err = fmt.Fprint(p.Out, text)
	return err
}

// pemFile gives the absolute path of the PEM file from which a program can take the
// certificate. Where reeve has it elsewhere, the path is one at which somebody has to
// put it.
func (p *program) pemFile(certificate string, pair pki.Pair) (string, error) {
	const placeholder = "certificate.pem"
	if (config.Auth{Certificate: certificate}).Own() {
		fmt.Fprintf(p.Err, "note: reeve keeps this certificate itself, encrypted, and renews it. For programs publish it to a live place, reeve cert policy set --target directory:/PATH, and name /PATH/current/certificate.pem in place of %s\n", placeholder)
		return placeholder, nil
	}
	ref, err := certstore.ParseReference(certificate)
	if err != nil || ref.Kind != certstore.KindFile {
		fmt.Fprintf(p.Err, "note: the certificate is not in a file here: put it, with its private key, into %s, or name a file by --auth-certificate\n", placeholder)
		return placeholder, nil
	}
	path, err := filepath.Abs(ref.Path)
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", failWith(exitConfig, "reading the certificate: %w", err)
	}
	defer clear(data)
	if !bytes.Contains(data, []byte("-----BEGIN")) || bytes.Contains(data, []byte("ENCRYPTED")) {
		fmt.Fprintf(p.Err, "note: %s is no PEM file with its key unencrypted, which is what is needed. Make one: reeve pki convert %s --to pem --out %s\n", plain(ref.Path), plain(ref.Path), placeholder)
		return placeholder, nil
	}
	if pair.Certificate == nil {
		return path, nil
	}
	c, err := pki.Read(data, "")
	if err == nil && len(c.Certificates) > 0 && !c.Certificates[0].Equal(pair.Certificate) {
		fmt.Fprintf(p.Err, "note: the first certificate in %s is not %v, which reeve signs in with: a program takes the first\n", plain(ref.Path), pair)
	}
	return path, nil
}

// ends reads when an assertion does.
func ends(claims map[string]any) (time.Time, error) {
	n, ok := claims["exp"].(json.Number)
	if !ok {
		return time.Time{}, errors.New("the assertion does not say when it ends")
	}
	seconds, err := n.Int64()
	return time.Unix(seconds, 0), err
}
