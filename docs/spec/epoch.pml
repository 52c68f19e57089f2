/* One epoch: delivery, commit, chain and reads (protocol.md, sections 4 to 6).

   Replica 0 is the primary, 1 and 2 are backups; the first MIRRORS of them are
   mirrors. RECORDS records, each of one of two keys and either small (it goes
   by value to all) or large. An LSN is a record's number, from 1.

   Reads look at key 0 only: records take their keys in every possible way, so
   key 1 differs from it in name alone.

   Properties: no read, and no answer without effect, is older than what a
   client was told before it was asked; only committed records are told; only
   records whose value is there are applied.

   Each #ifdef but RELOCATE is a rule broken on purpose. */
#ifndef RECORDS
#define RECORDS 2
#endif
#ifndef MIRRORS
#define MIRRORS 1
#endif

#define AT(b, i) ((b) * (RECORDS + 1) + (i))
#define MIRROR(b) ((b) <= MIRRORS)

byte key[RECORDS + 1], version[RECORDS + 1];
bit small[RECORDS + 1];

/* The primary. `cell` is what its commit cell says, `index` its readable
   state; `busy`: between two steps of one turn, where it serves nobody. */
byte ordered, committed, cell, index;
bit busy;

/* Backups; [0] is not used. Each counts the records that ... */
byte landed[3];    /* are visible here: value or metadata */
byte delivered[3]; /* the delivery cell here covers */
byte flushed[3];   /* the primary has seen the flush complete for */
byte announced[3], applied[3];
byte known[3];     /* are below the commit watermark known here */
byte travelled[3]; /* went along the chain up to here */
bit value[3 * (RECORDS + 1)];
byte best[3]; /* the index: newest version applied */

#ifdef DIRTY_BIT
bit dirty[3];
#endif
#ifdef CLEAR_FORWARDED
byte cleared[3];
#endif
#ifdef EARLY_CHAIN_VALUE
bit by_chain[3 * (RECORDS + 1)];
#endif

byte told; /* ghost: newest version of key 0 that any client was told */

hidden byte j;

inline tell(v) {
  assert(v <= committed);
  if
  :: v > told -> told = v
  :: else
  fi
}

/* The newest record of key 0 in (low, high], by version; 0: none. */
inline newest(low, high, result) {
  result = 0;
  j = low + 1;
  do
  :: j <= high ->
     if
     :: key[j] == 0 &&
#ifndef RELOCATED_BY_LSN
        (result == 0 || version[j] >= version[result]) &&
#endif
        true -> result = j
     :: else
     fi;
     j++
  :: else -> break
  od
}

inline announce(b) {
  do
  :: announced[b] < delivered[b] && announced[b] < landed[b] ->
     announced[b]++;
#ifdef DIRTY_BIT
     if
     :: key[announced[b]] == 0 -> dirty[b] = 1
     :: else
     fi
#endif
  :: else -> break
  od
}

proctype Primary() {
  do
  :: atomic {
       ordered < RECORDS -> ordered++;
       version[ordered] = ordered;
       if
       :: key[ordered] = 0
       :: key[ordered] = 1
#ifdef RELOCATE
       :: index > 0 -> key[ordered] = 0; version[ordered] = index
#endif
       fi;
       if
       :: small[ordered] = 0
       :: small[ordered] = 1
       fi
     }
  :: atomic {
       committed < ordered && flushed[1] > committed && flushed[2] > committed ->
       committed++;
#ifndef SERVES_IN_MID_COMMIT
       busy = 1
#endif
     }
#ifdef REPLY_BEFORE_CELL
     atomic {
       if
       :: key[committed] == 0 -> tell(version[committed])
       :: else
       fi
     }
#endif
     cell = committed;
     atomic {
       if
       :: key[committed] == 0 && version[committed] > index ->
          index = version[committed]
       :: else
       fi
     }
     atomic { /* the reply */
       busy = 0;
       if
       :: key[committed] == 0 -> tell(version[committed])
       :: else
       fi
     }
  od
}

proctype Backup(byte b) {
  do
  :: atomic {
       landed[b] < ordered -> landed[b]++;
       if
       :: MIRROR(b) || small[landed[b]] -> value[AT(b, landed[b])] = 1
       :: else
       fi
     }
#ifdef CELL_BEFORE_RECORDS
  :: atomic { delivered[b] < ordered -> delivered[b]++ }
#else
  :: atomic { delivered[b] < landed[b] -> delivered[b]++ }
#endif
#ifdef COMMIT_WITHOUT_FLUSH
  :: atomic { flushed[b] < ordered -> flushed[b]++ }
#else
  :: atomic { flushed[b] < delivered[b] -> flushed[b]++ }
#endif
  /* Its turn of the chain: the next large value, once its predecessor has it. */
  :: atomic {
       !MIRROR(b) && travelled[b] < ordered &&
       (small[travelled[b] + 1] || b == 1 || value[AT(b - 1, travelled[b] + 1)]) ->
       travelled[b]++;
       if
       :: small[travelled[b]]
       :: else ->
          value[AT(b, travelled[b])] = 1;
#ifdef EARLY_CHAIN_VALUE
          by_chain[AT(b, travelled[b])] = 1
#endif
       fi
     }
#ifdef FORWARD_OUT_OF_ORDER
  :: atomic { /* a value overtakes; the successor believes the watermark */
       !MIRROR(b) && travelled[b] + 1 < ordered && !small[travelled[b] + 2] &&
       (b == 1 || value[AT(b - 1, travelled[b] + 2)]) ->
       travelled[b] = travelled[b] + 2;
       value[AT(b, travelled[b])] = 1
     }
#endif
  :: atomic {
       announced[b] < delivered[b] && announced[b] < landed[b] -> announce(b)
     }
  :: atomic { known[b] < cell -> known[b]++ }
  :: atomic {
       applied[b] < announced[b] &&
#ifdef FORWARD_OUT_OF_ORDER
       (value[AT(b, applied[b] + 1)] || travelled[b] > applied[b]) &&
#else
       value[AT(b, applied[b] + 1)] &&
#endif
#ifdef EARLY_CHAIN_VALUE
       (applied[b] < known[b] || by_chain[AT(b, applied[b] + 1)]) &&
#else
       applied[b] < known[b] &&
#endif
       true ->
       applied[b]++;
       assert(value[AT(b, applied[b])]);
       if
       :: key[applied[b]] == 0 ->
#ifdef DIRTY_BIT
          dirty[b] = 0;
#endif
          if
          :: version[applied[b]] > best[b] -> best[b] = version[applied[b]]
          :: else
          fi
       :: else
       fi
     }
  od
}

proctype Reader() {
  byte b, before, found, answer, seen;
  do
  :: atomic { /* at the primary */
       !busy ->
#ifdef UNCOMMITTED_ANSWER
       newest(0, ordered, found);
       answer = version[found];
#else
       answer = index;
#endif
       assert(answer >= told);
       tell(answer);
       answer = 0;
       found = 0
     }
  :: atomic { /* compare-and-put that fails: decided against what is ordered */
       !busy -> before = told; newest(0, ordered, found)
     }
#ifndef NO_EFFECT_UNCOMMITTED
     committed >= found && !busy;
#endif
     atomic {
       answer = version[found];
       assert(answer >= before);
       tell(answer);
       answer = 0;
       found = 0;
       before = 0
     }
  :: atomic { /* at a backup */
       if
       :: b = 1
       :: b = 2
       fi;
       before = told;
       announce(b);
#ifdef CLEAR_FORWARDED
       seen = (cleared[b] > applied[b] -> cleared[b] : applied[b]);
       newest(seen, announced[b], found);
#else
       newest(applied[b], announced[b], found);
#endif
#ifdef DIRTY_BIT
       if
       :: !dirty[b] -> found = 0
       :: else
       fi;
#endif
#ifdef AT_WATERMARK
       seen = known[b] + 1;
#else
       seen = known[b];
#endif
       if
       :: found == 0 -> answer = best[b]; goto done
       :: found > 0 && found <= seen -> goto from_log
       :: else
       fi
     }
     seen = cell; /* a READ of the commit cell */
     if
     :: atomic { found <= seen -> goto from_log }
     :: atomic {
          found > seen ->
#ifdef OLD_WATERMARK
          newest(0, known[b], found);
#else
          newest(0, seen, found);
#endif
          answer = version[found];
          goto done
        }
     fi;
from_log:
     atomic { /* the own log, or a READ of the predecessor's */
       answer = (version[found] > best[b] -> version[found] : best[b]);
#ifdef CLEAR_FORWARDED
       if
       :: !value[AT(b, found)] -> cleared[b] = found
       :: else
       fi
#endif
     }
done:
     atomic {
       assert(answer >= before);
       tell(answer);
       b = 0;
       before = 0;
       found = 0;
       answer = 0;
       seen = 0
     }
  od
}

init {
  atomic {
    run Primary();
    run Backup(1);
    run Backup(2);
    run Reader()
  }
}
