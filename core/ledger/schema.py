"""The schema as append-only migrations: a migration that has been released is never changed, only followed by another.

Hot indexes are partial, so that their size follows the work in hand and not the messages stored.
"""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

FIRST = """
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    bot TEXT NOT NULL,
    chat_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    language TEXT NOT NULL DEFAULT '',
    running INTEGER,                          -- the turn being answered: at most one
    history_from INTEGER NOT NULL DEFAULT 0,  -- the prompt starts at this history entry
    prompt_tokens INTEGER NOT NULL DEFAULT 0, -- exact prompt + reply of the last turn
    created_at REAL NOT NULL,
    UNIQUE (channel, chat_id, thread_id, bot)
);
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    user_id TEXT NOT NULL,
    served_at REAL NOT NULL DEFAULT 0,
    messages_arrival REAL NOT NULL DEFAULT 0, -- GCRA, see core/throttle.py
    tokens_arrival REAL NOT NULL DEFAULT 0,
    told_until REAL NOT NULL DEFAULT 0,       -- a throttled user hears of it once until then
    UNIQUE (channel, user_id)
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    event_id TEXT NOT NULL,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    user INTEGER NOT NULL REFERENCES users (id),
    text TEXT NOT NULL,
    language TEXT NOT NULL,
    address TEXT NOT NULL,
    sent_at REAL NOT NULL,
    accepted_at REAL NOT NULL,
    state TEXT NOT NULL,
    turn_id INTEGER,
    UNIQUE (channel, event_id)
);
CREATE INDEX messages_conversation ON messages (conversation_id, id);
CREATE INDEX messages_waiting ON messages (conversation_id, id) WHERE state = 'waiting';
CREATE INDEX messages_turn ON messages (turn_id) WHERE turn_id IS NOT NULL;
-- One row per conversation that has something to answer and no running turn: what `claim` looks at.
CREATE TABLE inbox (
    conversation_id INTEGER PRIMARY KEY REFERENCES conversations (id),
    user INTEGER NOT NULL REFERENCES users (id),
    served_at REAL NOT NULL,
    message_id INTEGER NOT NULL,
    turn_id INTEGER,                          -- a turn handed back, to be gone on with
    first_at REAL NOT NULL,
    ready_at REAL NOT NULL
);
CREATE INDEX inbox_order ON inbox (served_at, message_id);
CREATE INDEX inbox_user ON inbox (user);
CREATE INDEX inbox_ready ON inbox (ready_at);
CREATE TABLE turns (
    id INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    state TEXT NOT NULL,                      -- waiting (handed back), running, done
    attempt INTEGER NOT NULL,
    lease_until REAL NOT NULL,
    reference TEXT NOT NULL DEFAULT '',       -- the platform's message that shows the preview
    started_at REAL NOT NULL,
    committed_at REAL,
    kind TEXT NOT NULL DEFAULT '',
    text TEXT NOT NULL DEFAULT '',
    cut INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT '',
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    first_text_seconds REAL
);
CREATE INDEX turns_conversation ON turns (conversation_id, id);
CREATE INDEX turns_running ON turns (lease_until) WHERE state = 'running';
CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    turn_id INTEGER NOT NULL,
    role TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX history_conversation ON history (conversation_id, id);
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    turn_id INTEGER NOT NULL REFERENCES turns (id),
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    channel TEXT NOT NULL,
    part INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    text TEXT NOT NULL,
    kind TEXT NOT NULL,
    address TEXT NOT NULL,
    state TEXT NOT NULL,                      -- core.types.DeliveryState
    reference TEXT NOT NULL DEFAULT '',
    taken_by TEXT,                            -- the platform's request that pulled it
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL,
    sent_at REAL,
    reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX deliveries_turn ON deliveries (turn_id);
CREATE INDEX deliveries_due ON deliveries (channel, due_at) WHERE state = 'pending';
CREATE INDEX deliveries_open ON deliveries (conversation_id, id) WHERE state IN ('pending', 'sending');
CREATE INDEX deliveries_failed ON deliveries (id) WHERE state IN ('failed', 'unclear');
CREATE INDEX deliveries_taken ON deliveries (conversation_id, taken_by) WHERE taken_by IS NOT NULL;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);
"""

SECOND = """
ALTER TABLE messages ADD COLUMN source_id TEXT NOT NULL DEFAULT '';  -- the platform's own id, by which edits find it
ALTER TABLE messages ADD COLUMN speaker TEXT NOT NULL DEFAULT '';
CREATE INDEX messages_source ON messages (conversation_id, source_id) WHERE source_id <> '';
ALTER TABLE conversations ADD COLUMN human_at REAL;                  -- when a person was last asked for
"""

THIRD = """
-- turns.state has one value more: dropped (handed back, and its messages withdrawn since)
ALTER TABLE turns ADD COLUMN feedback TEXT NOT NULL DEFAULT '';      -- what a user thinks of it: good, bad
ALTER TABLE turns ADD COLUMN feedback_at REAL;
ALTER TABLE conversations ADD COLUMN fresh_at REAL;                  -- when it was last begun anew
ALTER TABLE turns ADD COLUMN trouble TEXT NOT NULL DEFAULT '';       -- why its last failed attempt failed
ALTER TABLE deliveries ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;  -- sending: the platform may have it
UPDATE deliveries SET begun = 1 WHERE state = 'sending' AND reference = '';  -- an earlier version may have
CREATE INDEX messages_set_aside ON messages (id) WHERE state = 'set_aside';
CREATE TABLE facts (                                                 -- what a channel remembers of its platform
    channel TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,                                             -- a JSON object
    PRIMARY KEY (channel, name)
) WITHOUT ROWID;
"""

FOURTH = """
ALTER TABLE turns ADD COLUMN user INTEGER;                           -- whose share of the engine it takes
ALTER TABLE deliveries ADD COLUMN doubts INTEGER NOT NULL DEFAULT 0; -- sends of it that the platform may have taken
"""

# Rows that are there already stay as they are, before the chain: a hash made now would not show that nobody has changed
# them since they were written, and the start would take a while for it.
FIFTH = """
ALTER TABLE audit ADD COLUMN personal TEXT;                          -- JSON; NULL: about nobody, or erased
ALTER TABLE audit ADD COLUMN hash BLOB;                              -- see core/audit.py; NULL: before the chain
CREATE TABLE audit_anchor (                                          -- the row that the chain begins after
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id INTEGER NOT NULL,
    hash BLOB NOT NULL
);
INSERT INTO audit_anchor SELECT 1, coalesce(max(id), 0), zeroblob(32) FROM audit;
"""

CONSOLE = """
ALTER TABLE turns ADD COLUMN mark TEXT NOT NULL DEFAULT '';          -- what an operator thinks of it: good, bad
ALTER TABLE turns ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN messages_per_minute REAL;               -- this user's own limits; NULL: those of all
ALTER TABLE users ADD COLUMN tokens_per_day INTEGER;
CREATE INDEX messages_user ON messages (user, id);
CREATE VIRTUAL TABLE found USING fts5(words, tokenize = 'unicode61 remove_diacritics 2', columnsize = 0);
CREATE TABLE found_to (messages INTEGER NOT NULL, turns INTEGER NOT NULL);  -- how far the index has come
INSERT INTO found_to VALUES (0, 0);
CREATE TABLE found_later (id INTEGER PRIMARY KEY);                   -- rows of the index that must be written (again)
"""

VERSIONS = """
CREATE TABLE bot_versions (
    bot TEXT NOT NULL,
    number INTEGER NOT NULL,                                         -- the newest one is live
    at REAL NOT NULL,
    who TEXT NOT NULL,
    note TEXT NOT NULL,
    version TEXT NOT NULL,                                           -- of its replies in the audit record
    restores INTEGER,                                                -- the number of the one that it brought back
    files TEXT NOT NULL,                                             -- the digest of what the files said then
    recipe TEXT NOT NULL,                                            -- JSON: see core/recipe.py
    PRIMARY KEY (bot, number)
) WITHOUT ROWID;
"""

PRIORITY = """
DROP INDEX inbox_order;
ALTER TABLE inbox ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;    -- see core/engine.py: the lower, the sooner
UPDATE inbox SET priority = 10 WHERE conversation_id IN (SELECT id FROM conversations WHERE channel = 'api');
CREATE INDEX inbox_order ON inbox (priority, served_at, message_id);
"""


def migrations() -> Migrations:
    """All migrations, oldest first."""
    steps = Migrations("frontdesk")

    @steps(name="0001_first")
    def first(database: Database) -> None:
        database.executescript(FIRST)

    @steps(name="0002_edits_and_speakers")
    def second(database: Database) -> None:
        database.executescript(SECOND)

    @steps(name="0003_feedback_and_facts")
    def third(database: Database) -> None:
        database.executescript(THIRD)

    @steps(name="0004_fair_share")
    def fourth(database: Database) -> None:
        database.executescript(FOURTH)

    @steps(name="0005_audit_chain")
    def fifth(database: Database) -> None:
        database.executescript(FIFTH)

    @steps(name="0006_console")
    def sixth(database: Database) -> None:
        database.executescript(CONSOLE)

    @steps(name="0007_bot_versions")
    def seventh(database: Database) -> None:
        database.executescript(VERSIONS)

    @steps(name="0008_priority")
    def eighth(database: Database) -> None:
        database.executescript(PRIORITY)

    return steps
