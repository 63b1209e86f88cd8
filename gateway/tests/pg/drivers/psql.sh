# The workload in psql, or, where the variable STATEMENTS holds some, one on each line, these: as they are and prepared.
test -n "$STATEMENTS" || exec psql -XAtq -v refused="$REFUSED" -f "$1"
printf '%s\n' "$STATEMENTS" | while IFS= read -r statement; do
    case $statement in COPY*) printf '%s;\n\\echo %s\n' "$statement" :SQLSTATE; continue ;; esac
    for id in 1 2 3; do
        printf '%s;\n\\echo %s\n' "$statement" :SQLSTATE | sed "s/\$1/$id/"
    done
    printf 'PREPARE one (int) AS %s;\n' "$statement"
    for id in 1 2 3; do
        # Not which error: a server refuses to run what the gateway refuses to have prepared.
        printf 'EXECUTE one(%s);\n\\echo error %s\n' "$id" :ERROR
    done
    printf 'DEALLOCATE one;\n'
done | psql -XAtq -P null='(null)' -f -
