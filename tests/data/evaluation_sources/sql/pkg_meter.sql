create or replace package body pkg_meter
as
    gc_scope constant varchar2(31 char) := lower($$plsql_unit) || '.';
    e_no_meter exception;
    pragma exception_init(e_no_meter, -20017);

    type t_reading is record (
        read_at meter_readings.read_at%type,
        value   meter_readings.value%type
    );
    type t_readings is table of t_reading index by pls_integer;

    procedure log(p_text in varchar2)
    is
        pragma autonomous_transaction;
    begin
        insert into meter_log (logged_at, text) values (systimestamp, substr(p_text, 1, 4000));
        commit;
    end log;

    /**
     * Consumption between two readings; a meter that was replaced starts at zero again.
     */
    function consumption(
        p_meter in meters.meter_no%type,
        p_from  in date,
        p_until in date default trunc(sysdate)
    ) return number
    is
        l_readings t_readings;
        l_sum      number := 0;
    begin
        select read_at, value
          bulk collect into l_readings
          from meter_readings
         where meter_no = p_meter
           and read_at >= p_from
           and read_at < p_until + 1
         order by read_at;

        if l_readings.count < 2 then
            raise_application_error(-20017, 'fewer than two readings of meter ' || p_meter);
        end if;

        for i in l_readings.first + 1 .. l_readings.last loop
            l_sum := l_sum + case
                when l_readings(i).value >= l_readings(i - 1).value
                    then l_readings(i).value - l_readings(i - 1).value
                else l_readings(i).value
            end;
        end loop;
        return round(l_sum, 3);
    exception
        when no_data_found then
            log(gc_scope || 'consumption: no data, meter=' || p_meter);
            return null;
    end consumption;

    procedure bill_all(p_month in date)
    is
        cursor c_due is
            select m.meter_no, m.customer_id, t.price_per_unit, nvl(t.base_fee, 0) base_fee
              from meters m
              join tariffs t on t.tariff_id = m.tariff_id
             where m.removed_on is null
               for update of m.billed_until skip locked;
        l_used number;
    begin
        for r in c_due loop
            begin
                l_used := consumption(r.meter_no, trunc(p_month, 'MM'), last_day(p_month));
                merge into bills b
                using (select r.customer_id cid, trunc(p_month, 'MM') mon from dual) s
                   on (b.customer_id = s.cid and b.billing_month = s.mon)
                 when matched then update set b.amount = b.amount + l_used * r.price_per_unit
                 when not matched then insert (customer_id, billing_month, amount)
                      values (s.cid, s.mon, l_used * r.price_per_unit + r.base_fee);
                update meters set billed_until = last_day(p_month) where current of c_due;
            exception
                when e_no_meter then
                    log(gc_scope || 'bill_all: ' || sqlerrm);
            end;
        end loop;
    end bill_all;
end pkg_meter;
/
show errors
