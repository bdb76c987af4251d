//go:build !race

package m365_test

const raceFactor = 1
