-- migrate:up

-- What came from each source, by the partition that it came on: the ledger alone knows what was there before. Written in
-- the transaction of the batch, so it is exact; a partition has one reader, so two replicas never wait for a row.
create table report_count (
    source text not null,
    partition_id integer not null,
    kept bigint not null,
    repeated bigint not null,
    primary key (source, partition_id)
) with (fillfactor = 50);
comment on column report_count.kept is 'reports that were new, or said something newer about what was known';
comment on column report_count.repeated is 'reports that the ledger had already, in this or a greater revision';
grant select, insert, update, delete on report_count to tenure_worker;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
