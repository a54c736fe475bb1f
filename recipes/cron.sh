#!/bin/sh
# Takes what is new in a folder into a table: cron.sh FOLDER TABLE. With FACET_URL a running service answers, else the models here.
#
#     */10 * * * * cd /srv/photos && /opt/facet/recipes/cron.sh incoming faces.parquet 2>> faces.log
#
# Photos that were changed in the last minute may still be on their way, and wait for the next run. A run that finds another one
# at work ends with one line. Films and archives of the folder are left out. So are names with a line break: a list has a photo a
# line, and the second one could name any other file.
set -eu
folder=$1
table=$2
break='
'
mkdir -p "$(dirname "$table")"
find "$folder" -type f ! -path "*$break*" -mmin +"${MINUTES:-1}" \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.jpe' -o -iname '*.jfif' \
    -o -iname '*.png' -o -iname '*.webp' -o -iname '*.heic' -o -iname '*.heif' -o -iname '*.hif' -o -iname '*.avif' -o -iname '*.gif' \
    -o -iname '*.bmp' -o -iname '*.dib' \) | sort \
    | facet predict --from - --out "$table" --resume ${FACET_URL:+--url "$FACET_URL"}
