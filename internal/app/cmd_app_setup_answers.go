package app

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// readAnswers sets the flags that a file names and the command line does not.
func readAnswers(cmd *cobra.Command, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return wrongFlag("answers", err)
	}
	var answers map[string]any
	if err := yaml.Unmarshal(data, &answers); err != nil {
		return wrongFlag("answers", fmt.Errorf("reading %s: %w", file, err))
	}
	var errs []error
	for name, value := range answers {
		f := cmd.Flags().Lookup(name)
		if f == nil || slices.Contains([]string{"answers", "help"}, name) {
			errs = append(errs, fmt.Errorf("%s has %q, which is no flag of %s", file, name, cmd.CommandPath()))
			continue
		}
		if f.Changed {
			continue
		}
		errs = append(errs, answer(f, value))
		f.Changed = true
	}
	if err := errors.Join(errs...); err != nil {
		return wrongFlag("answers", err)
	}
	return nil
}

func answer(f *pflag.Flag, value any) error {
	if value == nil {
		return fmt.Errorf("%s has no value: give one, or leave it out", f.Name)
	}
	values, ok := value.([]any)
	if !ok {
		values = []any{value}
	}
	_, many := f.Value.(pflag.SliceValue)
	if len(values) > 1 && !many {
		values = []any{joined(values)} // of a setting
	}
	for _, v := range values {
		if err := f.Value.Set(fmt.Sprint(v)); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func joined(values []any) string {
	var all []string
	for _, v := range values {
		all = append(all, fmt.Sprint(v))
	}
	return strings.Join(all, ",")
}
