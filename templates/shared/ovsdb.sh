# Makes $database, of the form that $schema says, where there is none, and brings an older one to that form.
if [ ! -e "$database" ]; then
    # It gets its name when it is whole.
    rm -f "$database.new"
    ovsdb-tool create "$database.new" "$schema"
    mv "$database.new" "$database"
elif [ "$(ovsdb-tool needs-conversion "$database" "$schema")" = yes ]; then
    ovsdb-tool convert "$database" "$schema"
fi
