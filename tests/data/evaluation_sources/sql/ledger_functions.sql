CREATE OR REPLACE FUNCTION ledger.post_entry(
    p_debit  integer,
    p_credit integer,
    p_amount numeric,
    p_text   text,
    p_on     date DEFAULT current_date
) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_entry  bigint;
    v_closed date;
BEGIN
    IF p_amount <= 0 THEN
        RAISE EXCEPTION 'amount must be positive, got %', p_amount
            USING ERRCODE = 'check_violation', HINT = 'Swap debit and credit instead.';
    END IF;

    SELECT max(until) INTO v_closed FROM ledger.closed_period;
    IF p_on <= v_closed THEN
        RAISE EXCEPTION 'period up to % is closed', v_closed;
    END IF;

    PERFORM 1 FROM ledger.account WHERE number IN (p_debit, p_credit) AND active FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'account % or % is unknown or inactive', p_debit, p_credit;
    END IF;

    INSERT INTO ledger.entry (booked_on, description)
    VALUES (p_on, p_text)
    RETURNING entry_id INTO v_entry;

    INSERT INTO ledger.line (entry_id, account, debit, credit)
    VALUES (v_entry, p_debit, p_amount, 0),
           (v_entry, p_credit, 0, p_amount);

    PERFORM pg_notify('ledger', json_build_object('entry', v_entry, 'amount', p_amount)::text);
    RETURN v_entry;
END;
$$;

CREATE OR REPLACE FUNCTION ledger.check_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT sum(debit) <> sum(credit) FROM ledger.line WHERE entry_id = NEW.entry_id) THEN
        RAISE EXCEPTION 'entry % does not balance', NEW.entry_id;
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS line_balances ON ledger.line;
CREATE CONSTRAINT TRIGGER line_balances
    AFTER INSERT OR UPDATE ON ledger.line
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ledger.check_balance();

CREATE OR REPLACE FUNCTION ledger.statement(p_account integer, p_from date, p_until date)
RETURNS TABLE (booked_on date, description text, amount numeric, balance numeric)
LANGUAGE sql STABLE AS $$
    SELECT e.booked_on, e.description, l.debit - l.credit,
           sum(l.debit - l.credit) OVER (ORDER BY e.booked_on, e.entry_id ROWS UNBOUNDED PRECEDING)
      FROM ledger.line l JOIN ledger.entry e USING (entry_id)
     WHERE l.account = p_account AND e.booked_on BETWEEN p_from AND p_until
     ORDER BY e.booked_on, e.entry_id;
$$;
