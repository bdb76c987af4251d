package graph

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// span is a duration as XML Schema has it, in days and less: P180D, P1DT12H.
var span = regexp.MustCompile(`^P(?:(\d{1,5})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,8})(?:\.\d+)?S)?)?$`)

func readSpan(op, s string) (time.Duration, error) {
	m := span.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%s: %.40q is no duration in days, hours, minutes and seconds", op, s)
	}
	var sum time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if n, err := strconv.Atoi(m[i+1]); err == nil {
			sum += time.Duration(n) * unit
		}
	}
	return sum, nil
}
