-- migrate:up

-- Which mails of each folder have been read, so that a folder can be compared whole.
alter table mailbox_cursor
    add column read_uids int8multirange not null default '{}',
    add column total bigint,
    add column checked_at timestamptz,
    add column compared bigint not null default 0,
    add column missing bigint not null default 0,
    add column pass_done bigint not null default 0,
    add column pass_total bigint not null default 0;
update mailbox_cursor set read_uids = int8multirange(int8range(1, last_uid + 1)) where last_uid > 0;
comment on column mailbox_cursor.read_uids is 'with the broker, or none of ours';
comment on column mailbox_cursor.total is 'mails in the folder when it was last looked at';
comment on column mailbox_cursor.checked_at is 'the system''s clock when the folder was last compared whole';
comment on column mailbox_cursor.compared is 'mails of ours in it then';
comment on column mailbox_cursor.missing is 'of these not with the broker';
comment on column mailbox_cursor.pass_total is 'mails that the running pass has to read; pass_done of them are';

-- Which replica reads a mailbox, until when, by real time: providers count connections.
alter table mailbox_pass add column holder text, add column held_until timestamptz;

-- Where each mail lies, for mailboxes in which a deletion is a withdrawal.
create table mailbox_mail (
    source text not null,
    folder text not null,
    uid_validity bigint not null,
    uid bigint not null,
    native_id text not null,
    primary key (source, folder, uid_validity, uid)
);
create index mailbox_mail_native_id on mailbox_mail (source, native_id);
comment on column mailbox_mail.native_id is 'a hash; see services/ingest/domain/mail_identity.py';

-- Mails of such mailboxes that have been withdrawn; one that comes back is restored.
create table mailbox_withdrawn (
    source text not null,
    native_id text not null,
    primary key (source, native_id)
);

-- What a calendar folder had when it was last read: which entry, in which state.
create table calendar_entry (
    source text not null,
    href text not null,
    etag text not null,
    uids text [] not null,
    primary key (source, href)
);

-- How far a folder of history (maildir, mbox) has been read.
create table folder_file (
    source text not null,
    path text not null,
    read_bytes bigint not null,
    complete boolean not null,
    primary key (source, path)
);
comment on column folder_file.read_bytes is 'everything up to here is with the broker';

grant select, insert, update, delete
on mailbox_mail, mailbox_withdrawn, calendar_entry, folder_file to tenure_worker;
grant select on mailbox_mail, mailbox_withdrawn, calendar_entry, folder_file to tenure_api;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
