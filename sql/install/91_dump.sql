-- What pg_dump saves beside CREATE EXTENSION: the rows of all tables, and how
-- far their numbers have come. Seed rows are dumped like all others; see
-- llm_install_restore(). The ledger's partitions are ordinary tables.
DO $$
DECLARE
	relation	regclass;
BEGIN
	FOR relation IN
		SELECT c.oid
		FROM pg_extension e
		JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
		JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
		WHERE e.extname = 'llm_router' AND c.relkind IN ('r', 'S')
	LOOP
		PERFORM pg_extension_config_dump(relation, '');
	END LOOP;
END
$$;
