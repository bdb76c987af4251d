package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sync/errgroup"
)

// A part is one thing that is measured, each time in a new process: this program
// again, with the argument "part", and a job as the first line that it reads.

// A job tells a process what to do.
type job struct {
	Part      string
	Corpus    string
	Dir       string          `json:",omitempty"` // for what it writes
	Database  string          `json:",omitempty"` // the address of an empty one, or one to look into
	Records   int             `json:",omitempty"` // to build
	Blob      int             `json:",omitempty"` // records in each blob to build
	Latencies []time.Duration `json:",omitempty"` // for serve
	Variables []string        `json:",omitempty"` // by which the tenant is found
	Profile   string          `json:",omitempty"` // folder for profiles of an import
	Again     bool            `json:",omitempty"` // an import over what is there already
}

// An outcome is what a process says of its work.
type outcome struct {
	Records  int           `json:",omitempty"`
	Bytes    int64         `json:",omitempty"`
	Wall     time.Duration // of the work alone
	Prepared time.Duration `json:",omitempty"` // processor time that is no part of the work

	// Of an account: what became of the records.
	Stored, OutOfScope, Quarantined, Missing int `json:",omitempty"`
	Rows                                     int `json:",omitempty"` // of those stored
}

// A measurement is an outcome with what the process has used.
type measurement struct {
	outcome
	CPU    time.Duration // for the work, in user and kernel mode, that of a database server included
	Server time.Duration // of it: that of the server
	Peak   int64         // bytes
}

// rate is in records per second.
func (m measurement) rate() float64 { return float64(m.Records) / m.Wall.Seconds() }

// cpu is in seconds for 100,000 records.
func (m measurement) cpu() float64 { return m.CPU.Seconds() / float64(m.Records) * 1e5 }

// parts are what a process can be told to do.
var parts = map[string]func(context.Context, job) (outcome, error){
	"build":         buildCorpus,
	"import":        importAll,
	"account":       account,
	"download":      download,
	"decode":        decode,
	"insert":        insert,
	"insert texts":  insertTexts,
	"merge texts":   mergeTexts,
	"encoding/json": decodeByReflection,
}

// runPart is the other side of measure, in the new process.
func runPart(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading a job: %w", err)
	}
	var j job
	if err := json.Unmarshal(line, &j); err != nil {
		return fmt.Errorf("reading a job: %w", err)
	}
	if j.Part == "serve" {
		return serve(j, in, stdout)
	}
	do, ok := parts[j.Part]
	if !ok {
		return fmt.Errorf("there is no part %q", j.Part)
	}
	o, err := do(ctx, j)
	if err != nil {
		return fmt.Errorf("%s: %w", j.Part, err)
	}
	return json.NewEncoder(stdout).Encode(o)
}

// line is the job as a process reads it.
func (j job) line() ([]byte, error) {
	text, err := json.Marshal(j)
	return append(text, '\n'), err
}

// measure runs a job in a process of its own.
func measure(ctx context.Context, exe string, j job) (measurement, error) {
	line, err := j.line()
	if err != nil {
		return measurement{}, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, exe, "part")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(line), &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return measurement{}, fmt.Errorf("measuring %s: %w", j.Part, err)
	}
	var m measurement
	if err := json.Unmarshal(out.Bytes(), &m.outcome); err != nil {
		return measurement{}, fmt.Errorf("measuring %s: %w", j.Part, err)
	}
	m.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime() - m.Prepared
	m.Peak = peakMemory(cmd.ProcessState)
	return m, nil
}

// measureTogether runs a job in several processes at once: their time is that of the
// slowest, their memory that of the largest.
func measureTogether(ctx context.Context, exe string, j job, processes int) (sum measurement, err error) {
	all := make([]measurement, processes)
	g, ctx := errgroup.WithContext(ctx)
	for i := range all {
		g.Go(func() (err error) {
			all[i], err = measure(ctx, exe, j)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return sum, err
	}
	for _, m := range all {
		sum.Records += m.Records
		sum.Bytes += m.Bytes
		sum.CPU += m.CPU
		sum.Wall, sum.Peak = max(sum.Wall, m.Wall), max(sum.Peak, m.Peak)
	}
	return sum, nil
}

// A stopwatch separates the work of a process from what prepares it.
type stopwatch struct {
	wall, cpu time.Duration
	since     time.Time
	cpuSince  time.Duration
}

func (s *stopwatch) start() { s.since, s.cpuSince = time.Now(), processorTime() }

func (s *stopwatch) stop() {
	s.wall += time.Since(s.since)
	s.cpu += processorTime() - s.cpuSince
}

// outcome says that everything else which this process has done until now was
// preparation.
func (s *stopwatch) outcome(records int, bytes int64) outcome {
	return outcome{Records: records, Bytes: bytes, Wall: s.wall, Prepared: processorTime() - s.cpu}
}

// buildCorpus makes the records.
func buildCorpus(_ context.Context, j job) (outcome, error) {
	began := time.Now()
	err := corpus(j.Corpus).build(j.Records, j.Blob)
	return outcome{Records: j.Records, Wall: time.Since(began)}, err
}
