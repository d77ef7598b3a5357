#!/bin/sh
# Draws the terminal of a real run of `portolan demo` as docs/demo.svg: scripts/demo-picture.sh PROGRAM
set -eu
cd "$(dirname "$0")/.."
program=${1:-target/release/portolan}
columns=116
run=$(mktemp)
trap 'rm -f "$run"' EXIT
"$program" demo --name picture --bind 127.0.0.1:7443 --exit > "$run" 2>&1

# The first steps, and of each what tells the story; long lines are cut.
awk -v columns="$columns" '
    /^[0-9]+\. / { step = $1 + 0; title = 1 } !/^[0-9]+\. / { title = 0 }
    step > 4 { exit }
    /^Warning|^Waiting|^# no image|kubectl wait|condition met|rollout|successfully rolled/ { next }
    /describe svc/ { skip = 1 } /^Events:/ { skip = 0; next } skip { next }
    /^$/ { next }
    title { print "" }
    { sub(/ +NOMINATED NODE.*/, ""); sub(/ +<none> +<none>$/, "") }
    { print (length($0) > columns ? substr($0, 1, columns - 1) "…" : $0) }
' "$run" | awk -v columns="$columns" '
    function escape(text) { gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text); gsub(/ /, "\302\240", text); return text }
    { lines[NR] = $0 }
    END {
        height = 18; top = 54; width = columns * 8 + 48
        printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"The terminal of portolan demo\">\n", width, top + NR * height + 18
        print "<style>text{font:13.3px ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;fill:#c9d1d9;white-space:pre}.title{fill:#f0c674;font-weight:bold}.command{fill:#8abeb7}.note{fill:#7d8590}</style>"
        print "<rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#0d1117\"/>"
        print "<circle cx=\"24\" cy=\"22\" r=\"6\" fill=\"#ff5f57\"/><circle cx=\"44\" cy=\"22\" r=\"6\" fill=\"#febc2e\"/><circle cx=\"64\" cy=\"22\" r=\"6\" fill=\"#28c840\"/>"
        printf "<text x=\"%d\" y=\"27\" class=\"note\" text-anchor=\"middle\">make demo</text>\n", width / 2
        for (line = 1; line <= NR; line++) {
            class = lines[line] ~ /^[0-9]+\. / ? "title" : lines[line] ~ /^\$ / ? "command" : lines[line] ~ /^# / ? "note" : ""
            if (lines[line] != "")
                printf "<text x=\"24\" y=\"%d\"%s>%s</text>\n", top + line * height, class ? " class=\"" class "\"" : "", escape(lines[line])
        }
        print "</svg>"
    }
' > docs/demo.svg
echo "docs/demo.svg is drawn"
