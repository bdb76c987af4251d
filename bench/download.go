package main

import (
	"context"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reeve365/reeve/internal/certstore"
	"github.com/reeve365/reeve/internal/config"
	"github.com/reeve365/reeve/internal/feed"
	"github.com/reeve365/reeve/internal/m365"
	"github.com/reeve365/reeve/internal/m365/activity"
)

// download signs in, lists with the longest windows that the API takes, reads
// every blob with as many requests at once as reeve has by default, and drops
// the bytes.
func download(ctx context.Context, j job) (outcome, error) {
	began := time.Now()
	client, concurrency, err := newClient(j.Variables)
	if err != nil {
		return outcome{}, err
	}
	blobs, err := listAll(ctx, client, concurrency)
	if err != nil {
		return outcome{}, err
	}
	g, gctx := errgroup.WithContext(ctx)
	work := make(chan string)
	var total atomic.Int64
	for range concurrency {
		g.Go(func() error {
			buf := make([]byte, 64<<10)
			for uri := range work {
				n, err := drain(gctx, client, uri, buf)
				if err != nil {
					return err
				}
				total.Add(n)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(work)
		for _, b := range blobs {
			select {
			case work <- b.URI:
			case <-gctx.Done():
				return gctx.Err()
			}
		}
		return nil
	})
	err = g.Wait()
	return outcome{Bytes: total.Load(), Wall: time.Since(began)}, err
}

// newClient makes a client of the tenant as reeve does, with its settings.
func newClient(variables []string) (*activity.Client, int, error) {
	c, err := config.Load(config.Source{Environ: variables, SignIn: true})
	if err != nil {
		return nil, 0, err
	}
	ca, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, 0, err
	}
	network, err := m365.NewHTTPClient(m365.NetworkOptions{CA: ca})
	if err != nil {
		return nil, 0, err
	}
	cloud, err := m365.LookupCloud(c.Cloud)
	if err != nil {
		return nil, 0, err
	}
	cloud.AuthorityHost, cloud.Graph, cloud.Manage, cloud.Logs = c.AuthorityHost, c.GraphEndpoint, c.ManageEndpoint, c.LogsEndpoint
	pair, err := certstore.File(c.Auth.Certificate, "")
	if err != nil {
		return nil, 0, err
	}
	credential, err := m365.NewCredential(cloud, m365.SignIn{
		Method: m365.MethodCertificate, TenantID: c.TenantID, ClientID: c.ClientID, Pair: pair,
	}, network)
	if err != nil {
		return nil, 0, err
	}
	client, err := activity.New(activity.Options{Cloud: cloud, TenantID: c.TenantID, Credential: credential, HTTP: network})
	return client, c.Feeds.Audit.Concurrency, err
}

func listAll(ctx context.Context, client *activity.Client, concurrency int) ([]activity.Content, error) {
	const day = 24 * time.Hour
	end := time.Now()
	start := end.Add(-7*day + 2*time.Minute)
	type listing struct {
		contentType string
		start, end  time.Time
	}
	var listings []listing
	for _, t := range feed.AuditContentTypes {
		for at := start; at.Before(end); at = at.Add(day) {
			to := at.Add(day)
			if to.After(end) {
				to = end
			}
			listings = append(listings, listing{t, at, to})
		}
	}
	found := make([][]activity.Content, len(listings))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(concurrency)
	for i, l := range listings {
		g.Go(func() error {
			for content, err := range client.Content(ctx, l.contentType, l.start, l.end) {
				if err != nil {
					return err
				}
				found[i] = append(found[i], content)
			}
			return nil
		})
	}
	err := g.Wait()
	return slices.Concat(found...), err
}

func drain(ctx context.Context, client *activity.Client, uri string, buf []byte) (n int64, err error) {
	body, err := client.Blob(ctx, uri)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	for {
		k, err := body.Read(buf)
		n += int64(k)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
