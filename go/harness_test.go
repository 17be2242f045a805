package sigward

import (
	"os"
	"path/filepath"
	"testing"
)

// write writes a file in place: it is empty for a moment.
func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// folderWith makes a folder with these files.
func folderWith(t *testing.T, contents map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range contents {
		write(t, filepath.Join(folder, name), []byte(content))
	}
	return folder
}
