#!/bin/sh
# macOS: double-click. It does what everlearn-studio.sh does, in a window of its own.
exec "$(dirname "$0")/everlearn-studio.sh" "$@"
