# A caller's search_path in which everything of PostgreSQL's and ours is shadowed:
# operators, functions, types, tables and views, before pg_catalog and in pg_temp.
# None of it is ever run, by our functions, constraints, triggers or workers.
use strict;
use warnings;

use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('hostile', extension => 0);
my $url = $provider->url('/local/v1');
sub sql { return LlmRouterTest::sql($node, shift) }

sql(<<'SQL');
SET client_min_messages = error;
CREATE SCHEMA router;
CREATE EXTENSION llm_router SCHEMA router;
CREATE SCHEMA evil;
CREATE FUNCTION evil.caught(what text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$ BEGIN RAISE LOG 'hostile % was run', what; RAISE EXCEPTION 'hostile % was run', what; END $$;
CREATE FUNCTION evil.body(what text) RETURNS text LANGUAGE sql
AS $$ SELECT pg_catalog.format(' LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS %L', pg_catalog.format('BEGIN PERFORM evil.caught(%L); RETURN NULL; END', what)) $$;

-- What cannot be made in PL/pgSQL, such as a function of "internal", is skipped.
DO $$
DECLARE
	statements	text[];
	statement	text;
	f			record;
BEGIN
	FOR f IN
		SELECT p.oid, p.proname, p.proretset, format_type(p.prorettype, NULL) AS result,
			(SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n)) AS arguments
		FROM pg_proc p WHERE p.prokind = 'f' AND p.pronamespace IN ('pg_catalog'::regnamespace, 'router'::regnamespace)
	LOOP
		statements := statements || format('CREATE FUNCTION evil.%I(%s) RETURNS %s%s%s', f.proname, f.arguments,
			CASE WHEN f.proretset THEN 'SETOF ' ELSE '' END, f.result, replace(evil.body('function ' || f.proname), 'RETURN NULL', CASE WHEN f.proretset THEN 'RETURN' ELSE 'RETURN NULL' END));
	END LOOP;
	FOR f IN SELECT o.oid, o.oprname, format_type(nullif(oprleft, 0), NULL) AS l, format_type(oprright, NULL) AS r, format_type(oprresult, NULL) AS result FROM pg_operator o
	LOOP
		statements := statements || format('CREATE FUNCTION evil.operator_%s(%s) RETURNS %s%s', f.oid, concat_ws(', ', f.l, f.r), f.result, evil.body('operator ' || f.oprname))
			|| format('CREATE OPERATOR evil.%s (FUNCTION = evil.operator_%s, %s RIGHTARG = %s)', f.oprname, f.oid, 'LEFTARG = ' || f.l || ',', f.r);
	END LOOP;
	FOR f IN SELECT c.relname FROM pg_class c WHERE relkind IN ('r', 'p', 'v') AND relnamespace IN ('pg_catalog'::regnamespace, 'router'::regnamespace)
	LOOP
		statements := statements || format('CREATE VIEW evil.%I AS SELECT evil.caught(%L)', f.relname, 'relation ' || f.relname);
	END LOOP;
	FOREACH statement IN ARRAY ARRAY['text', 'jsonb', 'uuid', 'regclass', 'regproc', 'regprocedure', 'regnamespace', 'regrole', 'regtype', 'timestamptz', 'date', 'bytea', 'int4', 'int8', 'bool', 'name', 'oid']
	LOOP
		statements := statements || format('CREATE DOMAIN evil.%I AS pg_catalog.%1$I CHECK (evil.caught(%L))', statement, 'type ' || statement);
	END LOOP;
	-- VARIADIC "any" is no type of PL/pgSQL's: with few arguments these fit better.
	FOREACH statement IN ARRAY ARRAY['format', 'concat', 'concat_ws', 'json_build_object', 'jsonb_build_object', 'jsonb_build_array'] LOOP
		FOR i IN 1 .. 6 LOOP
			statements := statements || format('CREATE FUNCTION evil.%I(%s) RETURNS text%s', statement, repeat('text, ', i - 1) || 'text', evil.body('function ' || statement));
		END LOOP;
	END LOOP;
	FOREACH statement IN ARRAY statements LOOP
		BEGIN
			EXECUTE statement;
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
END
$$;
SQL
cmp_ok(sql(q(SELECT count(*) FROM pg_proc WHERE pronamespace = 'evil'::regnamespace)), '>', 2000, 'most functions are shadowed');
cmp_ok(sql(q(SELECT count(*) FROM pg_operator WHERE oprnamespace = 'evil'::regnamespace)), '>', 700, 'most operators are');
cmp_ok(sql(q(SELECT count(*) FROM pg_class WHERE relnamespace = 'evil'::regnamespace AND relkind = 'v')), '>', 140, 'all relations are');

# The workers have it too, and every session below has views in pg_temp.
my $temporary = sql(q(SELECT string_agg(format('CREATE TEMP VIEW %I AS SELECT evil.caught(%L);', relname, 'temporary ' || relname), ' ')
	FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND relnamespace IN ('pg_catalog'::regnamespace, 'router'::regnamespace)));
sql('ALTER DATABASE postgres SET search_path = evil, pg_catalog');

sub hostile
{
	my ($statement) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SET search_path = pg_catalog; SET client_min_messages = error; $temporary SET search_path = evil, pg_catalog; $statement");
	return $err eq '' ? $out : $err;
}

like(hostile(q(SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text)), qr/hostile operator = was run/, 'the trap works: an operator');
like(hostile(q(SELECT lower('a'::pg_catalog.text))), qr/hostile function lower was run/, '... a function');
like(hostile(q(TABLE llm_providers)), qr/hostile temporary llm_providers was run/, '... a temporary view');
like(hostile(q(SELECT 'a'::text)), qr/hostile type text was run/, '... a type');
my $log_start = -s $node->logfile;

# Every function that can be called, and rows that constraints and triggers see.
my $messages = q('[{"role": "user", "content": "Hi"}]');
my @statements = (
	qq(SELECT router.llm_provider_add('sim', '$url', auth_type => 'none')),
	q(SELECT router.llm_model_add('sim', 'sim-eco', 'eco', 1, 2)),
	q(SELECT router.llm_model_set_price('sim', 'sim-eco', 2, 3)),
	q(SELECT router.llm_provider_id('sim'), router.llm_model_id('sim', 'sim-eco')),
	q(UPDATE router.llm_routing_rules SET model_id = router.llm_model_id('sim', 'sim-eco'), fallback_model_id = NULL),
	q(INSERT INTO router.llm_tiers (subscription_tier, power_levels) VALUES ('gold', '{eco}')),
	q(INSERT INTO router.llm_users (user_id, subscription_tier, default_power_level) VALUES ('ann', 'gold', 'eco')),
	q(UPDATE router.llm_users SET byok = 'never'),
	q(INSERT INTO router.llm_budgets (scope, period, limit_usd) VALUES ('total', 'day', 1)),
	q(UPDATE router.llm_providers SET request_rules = '{}', check_path = '/models' WHERE id OPERATOR(pg_catalog.=) router.llm_provider_id('sim')),
	qq(SELECT router.llm_chat($messages, 'eco')),
	q(SELECT router.llm_ask('Hi', 'eco', options => '{"router": {"tags": {"a": "b"}, "user_id": "ann"}}')),
	qq(SELECT router.llm_chat_stream($messages, 'eco')),
	qq(SELECT router.llm_text(router.llm_chat($messages, 'eco'))),
	qq(SELECT router.llm_route($messages), router.llm_estimate_cost($messages), router.llm_count_tokens('x')),
	q(SELECT router.llm_last_call(), router.llm_user_id()),
	q(BEGIN; SELECT router.llm_set_user('ann'); SELECT router.llm_user_id(); COMMIT),
	q(SELECT router.llm_provider_set_key('openai', 'sk-0123456789', false)),
	q(SELECT router.llm_provider_confirm_keys('openai'), router.llm_keys_reencrypt()),
	qq(SELECT router.llm_provider_add('keyed', '@{[$provider->url('/v1')]}')),
	q(SELECT router.llm_key_test('keyed', 'sk-0123456789')), q(SELECT router.llm_key_add('keyed', 'sk-0123456789', 'mine', false)),
	q(SELECT router.llm_key_set_active(id, false), router.llm_key_update(id, 'sk-9876543210', false), router.llm_key_delete(id) FROM router.llm_keys),
	q(SELECT router.llm_audit_user_id(); TABLE router.llm_audit_logs),
	q(SELECT router.llm_doctor(), router.llm_server_checks(NULL), router.llm_ledger_status(), router.llm_circuit_status(), router.llm_database_health(1)),
	q(SELECT router.llm_provider_check('sim')),
	q(TABLE router.llm_status), q(TABLE router.llm_circuits), q(TABLE router.llm_power_levels),
	q(SELECT router.llm_budget_counters(); TABLE router.llm_budget_status),
	q(SELECT router.llm_seed_tiers(), router.llm_seed_providers(), router.llm_seed_models(), router.llm_seed_rules()),
	q(CREATE ROLE someone), q(SELECT router.llm_grant('someone', 'application')), q(SELECT router.llm_grant('someone', 'administrator')),
	(map { "SET ROLE someone; SELECT router.llm_usage_$_()" } qw(summary by_provider over_time recent)),
	q(SET ROLE someone; SELECT router.llm_user_id(); SELECT user_id FROM router.llm_usage_logs; SELECT user_id FROM router.llm_usage_rollup),
	q(SET ROLE someone; SELECT router.llm_provider_add('other', 'https://example.com')),
	qq(SET ROLE someone; SELECT router.llm_chat($messages, 'eco')),
	q(SELECT router.llm_access_privileges('user'), router.llm_access_kinds('someone'), router.llm_hide_from_public()),
	q(SELECT router.llm_revoke('someone', 'application'), router.llm_revoke('someone', 'administrator')),
	q(SELECT router.llm_latency_histogram('{1,2}'), router.llm_latency_histogram_add('{1}', '{2}'), router.llm_latency_percentile('{1}', 0.5)),
	q(SELECT router.llm_latency_histogram_sum('{1,2}')),
	(map { "SELECT router.llm_usage_$_('year', 'sim', 'eco')" } qw(summary by_provider by_model by_power_level over_time recent by_user)),
	(map { "SELECT router.llm_usage_export('$_'); SELECT line FROM router.llm_usage_export('$_') AS line" } qw(csv json)),
	q(SELECT router.llm_usage_range('week', NULL, NULL, NULL, NULL), router.llm_usage_steps('week', '2026-01-01', '2026-01-02'), router.llm_usage_csv(NULL)),
	q(SELECT router.llm_usage_cells('2026-01-01', '2026-02-01', NULL, NULL), router.llm_usage_grouped('total', '2026-01-01', '2026-02-01', NULL, NULL)),
	q(SELECT router.llm_usage_totals_close('2026-01-01'), router.llm_usage_totals_make_days(), router.llm_usage_totals_reopen('2026-01-01'), router.llm_usage_horizon()),
	q(SELECT router.llm_usage_quota(), router.llm_usage_budgets('ann', 'gold')),
	q(SELECT router.llm_recommend()), q(TABLE router.llm_provider_names),
	q(TABLE router.llm_metrics_usage; TABLE router.llm_metrics_latency; TABLE router.llm_metrics_providers),
);
is(hostile($_) =~ /(ERROR.*)/ ? $1 : '', '', "runs nothing hostile: $_") foreach @statements;

like(hostile(q(INSERT INTO router.llm_tiers (subscription_tier, power_levels) VALUES ('Gold!', '{eco}'))), qr/subscription tier "Gold!" is not valid/, 'constraints say what is wrong');
like(hostile(q(SELECT router.llm_model_id('sim', 'x'))), qr/unknown model "x"/, '... and helpers');
# The ledger's writer also writes refusals to the audit log.
like(hostile(q(SELECT router.llm_grant('someone', 'user'); SET ROLE someone; SELECT router.llm_ask('x', options => '{"router": {"user_id": "ann"}}'))), qr/may not speak/, '... and calls');
foreach my $written ('llm_usage_rollup', "llm_audit_logs WHERE action OPERATOR(pg_catalog.=) 'access.refused'")
{
	LlmRouterTest::wait_until("the writer has written $written", sub { $node->safe_psql('postgres', "SELECT pg_catalog.count(*) FROM router.$written") > 0 });
}
unlike(slurp_file($node->logfile, $log_start), qr/LOG:  hostile .* was run/, 'and nothing hostile was run by a worker, or in a caught error');

# So that a new function does not go untried.
my $tried = join ' ', @statements;
# Called by constraints and triggers above, or by the ones named there.
my %indirect = map { $_ => 1 } qw(llm_require llm_reject llm_touch llm_config_changed llm_install_restore llm_access_change
	llm_request_rules_valid llm_check_path_valid llm_provider_address llm_seed llm_seed_one llm_seed_row
	llm_restore_session llm_audit_change llm_audit_change_write llm_audit_guard llm_audit_object llm_audit_shown llm_audit_write llm_note_write);
my @untried = grep { !$indirect{$_} && $tried !~ /router\.$_\b/ }
  split /\n/, $node->safe_psql('postgres', q(SET search_path = pg_catalog; SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'router'::regnamespace));
is("@untried", '', 'every function was tried');

done_testing();
