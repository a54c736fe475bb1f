#!/bin/sh
# Tells a webhook, such as one of n8n or Make, what is on each photo: webhook.sh URL PHOTO...
#
#     FACET_URL=http://localhost:8000 recipes/webhook.sh https://n8n.example.com/webhook/faces photo.jpg
#
# The webhook gets Facet's answer as JSON, with the photo's name in the header X-Photo. FACET_CLIENT_KEY is the service's key.
# A photo that cannot be answered, or told of, is one line on standard error, and the exit status is 1 at the end.
set -u
hook=$1
shift
status=0
# A file: before another attempt curl empties it. On standard output the answer of the refused one would stay.
answer=$(mktemp) || exit 1
trap 'rm -f "$answer" "${key-}"' EXIT
trap 'exit 1' HUP INT TERM
# A file, too: everybody on this machine sees the arguments of a command.
key=$(mktemp) || exit 1
printf '%s' "${FACET_CLIENT_KEY:+X-API-Key: $FACET_CLIENT_KEY}" >"$key"
for photo; do
    : >"$answer"
    name=$(printf '%s' "${photo##*/}" | tr '\r\n' '??') # a line break would begin another header
    if curl --silent --show-error --fail-with-body --retry 3 --max-time 60 \
        --header "@$key" --header 'Content-Type: application/octet-stream' --data-binary @- --output "$answer" \
        "${FACET_URL:-http://localhost:8000}/predict" <"$photo"; then # curl sends nothing of a file that is not there
        curl --silent --show-error --fail --retry 3 --max-time 60 --output /dev/null \
            --header 'Content-Type: application/json' --header "X-Photo: $name" \
            --data-binary "@$answer" "$hook" || status=1
    else
        printf '%s: %s\n' "$photo" "$(cat "$answer")" >&2
        status=1
    fi
done
exit $status
