#!/usr/bin/env bash
# Runs the commands of a page as they stand: all of its ```sh blocks, in one shell, in a folder where tests/ and build/ are those
# of the repository.   usage: run_page.sh PAGE PROGRAMS FOLDER
set -euo pipefail
page=$(realpath "$1") programs=$(realpath "$2") folder=$3
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)

rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
ln -s "$root/tests" tests
commands=$(awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$page")
[ -n "$commands" ] || { echo "$page has no commands" >&2 && exit 1; }
PATH=$programs:$PATH bash -euo pipefail -x -c "$commands" </dev/null

# What the page says comes out of it: `name` of each line of its tables that begins with a file.
while read -r file; do
  [ -e "$file" ] || { echo "$page: no $file" >&2 && exit 1; }
done < <(sed -n 's/^| `\(first-hour[^`]*\)`.*/\1/p' "$page")
