-- Hostile bytes: what is repaired, and what is refused.
\set VERBOSITY terse

-- Invalid UTF-8 becomes U+FFFD, one for each maximal subpart.
SELECT test_json('\x7b2261223a22c328227d') AS cut_sequence;
SELECT test_json('\x22f09f9822') AS cut_emoji;
SELECT test_json('\x22eda08022') AS encoded_surrogate;
SELECT test_json('\x22c08022') AS overlong;
SELECT test_json('\x22f09f988022') AS whole_emoji;

-- So do escapes that stand for no character.
SELECT test_json('"a\\u0000b"') AS escaped_nul;
SELECT test_json('"a\\ud800b"') AS lone_high_surrogate;
SELECT test_json('"a\\udc00b"') AS lone_low_surrogate;
SELECT test_json('"a\\ud800\\u0041"') AS high_surrogate_before_a_letter;
SELECT test_json('"\\ud83d\\ude00"') AS surrogate_pair;
SELECT test_json('"\\\\u0000"') AS escaped_backslash;

-- Raw control characters in a string are escaped; a byte order mark is skipped.
SELECT test_json('\x22610a620963006422') AS controls;
SELECT test_json('\xefbbbf7b7d') AS byte_order_mark;

-- Refused: no JSON, too deep, numbers that would cost more than their bytes.
SELECT test_json('');
SELECT test_json('{"a":');
SELECT test_json('<html>');
SELECT test_json('\x7b7d00');
SELECT test_json('"\\u12"');
SELECT test_json(convert_to(repeat('[', 100) || repeat(']', 100), 'UTF8')) IS NOT NULL AS hundred_levels;
SELECT test_json(convert_to(repeat('[', 101) || repeat(']', 101), 'UTF8'));
SELECT test_json(convert_to(repeat('[', 1000000), 'UTF8'));
SELECT test_json('1e999999999');
SELECT test_json('[1e-131071]');
SELECT test_json('1.5e-300') IS NOT NULL AS small_double;

-- A key twice: the last stays, as everywhere in jsonb.
SELECT test_json('{"a":1,"a":2}');
