/* Cells that are written in turn (protocol.md, sections 4 and 8).

   READING: a reader takes the slots one after the other, each word by word,
   while more cells are written. What it ends with is no older than what was
   whole when it began. A cell is two words here: its sequence and its checksum;
   it is whole if they agree.

   POWER: batches, each with a delivery cell behind it; the power fails at any
   time. What was flushed comes back, everything else by chance, word by word.
   A replica whose memory came back as promised is never judged damaged, and
   one that lost a record below the proven floor always is; the floor leaves
   out no more flushed batches than may be in flight.

   Each other #ifdef is a rule broken on purpose. */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef CELLS
#define CELLS 6
#endif
#define TORN 255

#ifdef READING
byte sequence[SLOTS], checksum[SLOTS];
byte newest;

active proctype Writer() {
  byte next = 1;
  do
  :: next <= CELLS ->
     if /* either word first */
     :: sequence[next % SLOTS] = next; checksum[next % SLOTS] = next
     :: checksum[next % SLOTS] = next; sequence[next % SLOTS] = next
     fi;
     atomic { newest = next; next++ }
  :: else -> break
  od
}

/* The last look at all slots, and the one before it. */
byte s[SLOTS], c[SLOTS], s_before[SLOTS], c_before[SLOTS];

active proctype Reader() {
  byte before, i, best, largest;
  bit again, same;
  do
  :: before = newest;
     do
     :: /* A look at all slots, either word first. */
        do
        :: i < SLOTS ->
           if
           :: s[i] = sequence[i]; c[i] = checksum[i]
           :: c[i] = checksum[i]; s[i] = sequence[i]
           fi;
           i++
        :: else -> break
        od;
        atomic {
          best = 0; largest = 0; same = again; i = 0;
          do
          :: i < SLOTS ->
             if
             :: s[i] == c[i] && s[i] > best -> best = s[i]
             :: else
             fi;
             if
             :: s[i] > largest -> largest = s[i]
             :: else
             fi;
             same = same && s[i] == s_before[i] && c[i] == c_before[i];
             s_before[i] = s[i]; c_before[i] = c[i]; s[i] = 0; c[i] = 0;
             i++
          :: else -> break
          od;
          i = 0; again = 1;
#ifdef TORN_READ_ONCE
          same = 1;
#endif
          if
          :: best == largest || same -> break
          :: else
          fi
        }
     od;
     assert(best >= before);
     atomic {
       do
       :: i < SLOTS -> s_before[i] = 0; c_before[i] = 0; i++
       :: else -> break
       od;
       before = 0; best = 0; largest = 0; i = 0; again = 0; same = 0
     }
  od
}
#endif

#ifdef POWER
#ifdef ALL_SLOTS_IN_FLIGHT
#define IN_FLIGHT SLOTS
#else
#define IN_FLIGHT (SLOTS - 1)
#endif
/* Batch i is whole[i]: its records have reached persistence. */
byte slot[SLOTS];
byte posted, flushed;
bit whole[CELLS + 1];

/* The newest whole cell; the oldest whole one of the last SLOTS up to it. */
inline judge(newest, oldest) {
  newest = TORN;
  i = 0;
  do
  :: i < SLOTS ->
     if
     :: slot[i] != TORN && (newest == TORN || slot[i] > newest) ->
        newest = slot[i]
     :: else
     fi;
     i++
  :: else -> break
  od;
  oldest = newest;
#ifndef NEWEST_WHOLE_CELL_IS_PROVEN
  i = 0;
  do
  :: i < SLOTS ->
     if
     :: newest != TORN && slot[i] < oldest && slot[i] + SLOTS > newest ->
        oldest = slot[i]
     :: else
     fi;
     i++
  :: else -> break
  od;
  /* In the first round nothing is proven (0). */
  if
  :: newest != TORN && newest < SLOTS -> oldest = 0
  :: else
  fi;
#endif
  i = 0
}

active proctype Replica() {
  byte newest, floor_, i;
  do
  :: atomic { posted < CELLS && posted < flushed + IN_FLIGHT -> posted++ }
  :: atomic { /* what is in flight persists piece by piece, in any order */
       i = flushed + 1;
       do
       :: i < posted -> i++
       :: break
       od;
       if
       :: i <= posted -> whole[i] = 1
       :: i <= posted && slot[i % SLOTS] < i -> slot[i % SLOTS] = TORN
       :: i <= posted && slot[i % SLOTS] == TORN -> slot[i % SLOTS] = i
       :: else
       fi;
       i = 0
     }
  :: atomic { /* the flush of the oldest: nothing of it is left behind */
       flushed < posted ->
       flushed++;
       whole[flushed] = 1;
       if
       :: slot[flushed % SLOTS] == TORN || slot[flushed % SLOTS] < flushed ->
          slot[flushed % SLOTS] = flushed
       :: else
       fi
     }
  :: atomic { /* the power fails */
       judge(newest, floor_);
       assert(floor_ != TORN);
       i = 1;
       do
       :: i <= floor_ -> assert(whole[i]); i++
       :: else -> break
       od;
       assert(floor_ + SLOTS - 1 >= flushed);
       break
     }
  od
}
#endif
