package tenant

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Content ids, in the two forms that the service has used. Both are in the
// documents, and readers must take either as it is.

// idTime is the layout of the time in a content id; milliseconds and the blob's
// place follow.
const idTime = "20060102150405"

// olderIDs is of how many blobs one has an id of the older form, in a log that
// is not calm.
const olderIDs = 8

// contentID returns the id of the blob at a place of its feed.
func (l *AuditLog) contentID(t int, b *blob, place int) string {
	if !l.opts.Calm && !b.given && mix(b.key, 9)%olderIDs == 0 {
		return l.olderID(t, b, place)
	}
	at := time.UnixMilli(b.created).UTC()
	stamp := fmt.Sprintf("%s%03d%06d", at.Format(idTime), b.created%1000, place)
	return stamp + "$" + stamp + "$" + contentTypes[t].suffix
}

// older ids begin with a number of twelve digits, the first of which says the
// content type here.
const olderUnit = 100_000_000_000

// olderID has a number twice, the tenant with a storage name and the hour, and
// something of the blob's own.
func (l *AuditLog) olderID(t int, b *blob, place int) string {
	number := strconv.Itoa((t+1)*olderUnit + place)
	own := string(appendGUID(nil, b.key))
	compact := func(guid string) string { return strings.ReplaceAll(guid, "-", "") }
	return number + "$" + number + "$" + compact(l.opts.TenantID) + "ebspo" + time.UnixMilli(b.created).UTC().Format("2006010215") +
		"$" + compact(own) + "$04"
}

// find returns the place of the blob with a content id; l.mu is held.
func (l *AuditLog) find(id string) (t, place int, err error) {
	stamp, rest, _ := strings.Cut(id, "$")
	again, suffix, ok := strings.Cut(rest, "$")
	if !ok || again != stamp {
		return 0, 0, ErrBadContentID
	}
	var n uint64
	if strings.HasSuffix(suffix, "$04") {
		n, err = strconv.ParseUint(stamp, 10, 63)
		t = int(n/olderUnit) - 1
		n %= olderUnit
		if err != nil || t < 0 || t >= numContentTypes {
			return 0, 0, ErrBadContentID
		}
	} else {
		t = slices.IndexFunc(contentTypes[:], func(c contentType) bool { return c.suffix == suffix })
		if t < 0 || len(stamp) < len(idTime)+3+6 || len(stamp) > len(idTime)+3+9 {
			return 0, 0, ErrBadContentID
		}
		if n, err = strconv.ParseUint(stamp[len(idTime)+3:], 10, 31); err != nil {
			return 0, 0, ErrBadContentID
		}
	}
	f := &l.feeds[t]
	if n >= uint64(len(f.blobs)) || l.contentID(t, &f.blobs[n], int(n)) != id {
		return 0, 0, ErrNoContent
	}
	return t, int(n), nil
}
