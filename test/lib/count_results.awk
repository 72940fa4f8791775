# count_results.awk: counts the test items in a log of TAP (also of prove --verbose), pg_regress or pytest, and prints
# "PASSED FAILED SKIPPED". Nested TAP is indented and belongs to its parent's line.

/^ok [0-9]+/ { if ($0 ~ /# *[Ss][Kk][Ii][Pp]/) skipped++; else passed++ }
/^not ok/ { if ($0 ~ /# *TODO/) passed++; else failed++ }

# pg_regress of PostgreSQL 15; later ones speak TAP.
/^(test|    ) .* \.\.\. +ok +[0-9]+ ms/ { passed++ }
/^(test|    ) .* \.\.\. +FAILED/ { failed++ }

# A test file which is skipped whole, or dies before its first test.
/^1\.\.0 # *[Ss][Kk][Ii][Pp]/ { skipped++ }

# pytest's last line.
/^(=+ )?[0-9]+ (passed|failed|skipped|error).* in [0-9.]+s/ {
    for (field = 2; field <= NF; field++) {
        if ($field ~ /^passed/) passed += $(field - 1)
        if ($field ~ /^(failed|error)/) failed += $(field - 1)
        if ($field ~ /^skipped/) skipped += $(field - 1)
    }
}

END { print passed + 0, failed + 0, skipped + 0 }
