/* The slot's life as locksmith/semaphore/ and core/ do it: START, ENQUEUE, CLAIM, DRAIN, ARM, REBOOT, VERIFY, RELEASE.

   Two nodes (ONENODE: one) count against their group's limit and a second one; an operator sets slots up and down, unlocks,
   takes by force, pauses the fleet, the group, a node, acknowledges, runs fsck and loses a guard; `lockctl lock --wait` takes
   node 0 by hand (NOCLI: not). Every commit may be answered, lose its answer after it applied, be dropped, or apply at any
   later time. Processes crash, machines lose their power, tickets go with their session, a reboot may come late or never.
   FAULTS: budget of crashes, power cuts, lost tickets and unclear commits. OPS: acts of the operator. TRIES: attempts a node.
   GROUPS: the configuration names another group from the second start on. NOLATE, NOPOWER: without these faults.

   Revisions are validity bits: a snapshot's bit of a key goes out when that key changes; a commit on its way that can not
   apply any more is forgotten. "Absent" is judged when the commit applies (the same key may come and go in between).
   What makes a negative control is behind #ifdef; tests/model/configurations.py lists them with the rule that each removes. */
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef OPS
#define OPS 1
#endif
#ifndef TRIES
#define TRIES 1
#endif
#ifndef ZE
#define ZE 1                                    /* the second limit's slots at the beginning */
#endif
#define HAND 9                                  /* the nonce of the hold by hand; agents have 1, 2, … */
#define ACQUIRED 1                              /* phases: acquired or draining */
#define ARMED 2
#define VERIFYING 3
#define FAILED 4
#define MAINTENANCE 5
#define ENQ 1                                   /* kinds of commits */
#define CLAIM 2
#define ARM 3
#define FREE 4
#define VERIFY 5
#define FAIL 6
#define DISARM 7
#define MARK 8                                  /* `then: maintenance` */
#define UNMARK 9

/* ---- the store */
byte gc[2], zc, ge=1, ze=ZE;                    /* guards: counts of the groups and of the second limit, effective slots */
bit gx=1;                                       /* group 0's guard is there */
bit pz, bz, hd;                                 /* fleet's pause in cfg, group's pause in brake, hold of node 0 */
byte bf[2];                                     /* brake: node is in the failed set; 2 acknowledged */
byte own[2], ph[2], hg[2];                      /* holders: nonce, phase, group */
bit am[2], rvk[2], thn;                         /* armed by the agent's newest attempt id; revoke mark; then mark (node 0) */
byte tic[4];                                    /* tickets by key: agents, by hand, node 0 in the other group */
/* ---- the machines */
bit nb[2], pend[2], exc[2], dn[2];              /* booted since the holder's boot; a reboot may still fire; forced while armed;
                                                   went down under its slot and is not yet well */
byte cg[2], jt[2], non[2];                      /* configured group; journal: ticket's key, nonce */
/* ---- snapshots and commits on their way, by actor: agents 0 and 1, lockctl 2, operator 3 */
byte vG, vO, vT, vC, vB;
byte lk[3], ln[3], lx[3]; bit lc[3], lo[3];
byte F=FAULTS; bit done[2], clidone, clihas, clidead, opk;

#define ND(a) (a==2 -> 0 : a)
#define FGONE(a) lk[a]=0; ln[a]=0; lx[a]=0; lc[a]=0; lo[a]=0
/* Who has seen a key as it is now, a bit each: 1 2 4 8 snapshots of the actors, 16 32 64 commits on their way. */
#define touchG vG=0
#define touchB vB=0
#define touchC vC=0
#define touchO(n) vO=(n -> vO&221 : vO&170)                   /* node 0's key is also lockctl's */
#define touchT(x) vT=vT&(255-(x==1 -> 2 : (x==2 -> 4 : (jt[0]==x -> 1 : 0)))-(x==1 -> 32 : (x==2 -> 64 : (lk[0]&&lx[0]==x -> 16 : 0))))
#define READ(a) vG=vG|(1<<a); vO=vO|(1<<a); vT=vT|(1<<a); vC=vC|(1<<a); vB=vB|(1<<a)
#define UNREAD(a) vG=vG&(255-(1<<a)); vO=vO&(255-(1<<a)); vT=vT&(255-(1<<a)); vC=vC&(255-(1<<a)); vB=vB&(255-(1<<a))
#define LATE(a) vG=vG|(16<<a); vO=vO|(16<<a); vT=vT|(16<<a); vC=vC|(16<<a); vB=vB|(16<<a)
#define UNLATE(a) vG=vG&(255-(16<<a)); vO=vO&(255-(16<<a)); vT=vT&(255-(16<<a)); vC=vC&(255-(16<<a)); vB=vB&(255-(16<<a))
#define HAS(v,m) ((v&(m))!=0)

#define STOPPED(n) (pz || bz || (n==0 && hd))
#define HALTED (bf[0]==1 || bf[1]==1)
#define COUNT(g) ((own[0]!=0&&hg[0]==g)+(own[1]!=0&&hg[1]==g))
#ifdef OFFBYONE
#define BELOW(x,y) (x<=y)
#else
#define BELOW(x,y) (x<y)
#endif
#ifdef NORECOUNT
#define BASE(n) (gx||cg[n] -> gc[cg[n]] : 0)
#else
#define BASE(n) (gx||cg[n] -> gc[cg[n]] : COUNT(0))          /* a missing guard is made with a recount, with one slot */
#endif
#define FITS(n) (BELOW(BASE(n),(gx||cg[n] -> ge : 1)) && BELOW(zc,ze))

/* What the commits check; m is the bit of the snapshot or of the commit on its way. */
#ifdef NOTICKET
#define TICKET(m) true
#else
#define TICKET(m) HAS(vT,m)
#endif
#ifdef NOGUARD
#define GUARDS(m) true
#else
#define GUARDS(m) HAS(vG,m)
#endif
#ifdef CLAIM_PAUSE
#define COLD(m) true
#else
#define COLD(m) (HAS(vC,m)&&HAS(vB,m))
#endif
#ifdef ARM_PAUSE
#define ARMCOLD(m) true
#else
#define ARMCOLD(m) (HAS(vC,m)&&HAS(vB,m))
#endif
#define LEFT(n) (n==0 && thn && ph[n]!=FAILED && ph[n]!=MAINTENANCE)          /* to the operator who asked for it */
#define OK_ENQ(n,x,m) (tic[x]==0)
#define OK_CLAIM(n,x,m) (own[n]==0 && GUARDS(m) && TICKET(m) && COLD(m))
#define OK_ARM(n,x,m) (HAS(vO,m) && ARMCOLD(m))
#define OK_FREE(n,x,m) (HAS(vO,m) && (LEFT(n) || (HAS(vG,m) && (ph[n]!=FAILED || HAS(vB,m)))))
#define OK_VERIFY(n,x,m) HAS(vO,m)
#define OK_FAIL(n,x,m) (HAS(vO,m) && HAS(vB,m))
#define OK_DISARM(n,x,m) HAS(vO,m)
#define OK_MARK(n,x,m) HAS(vO,m)
#define OK_UNMARK(n,x,m) HAS(vO,m)

inline inv() {
  assert(!gx || (gc[0]==COUNT(0) && gc[1]==COUNT(1)));                       /* I(L) */
  assert(zc==(own[0]!=0)+(own[1]!=0));
  assert((bf[0]!=0)==(own[0]!=0&&ph[0]==FAILED)); assert((bf[1]!=0)==(own[1]!=0&&ph[1]==FAILED));   /* F(G) */
  assert(!dn[0] || own[0]!=0); assert(!dn[1] || own[1]!=0) }                 /* kept over its own reboot, until it is well */

inline drop_holder(n) {                          /* delete the holder and take it off all that counts it */
  if :: gx || hg[n] -> gc[hg[n]]=(gc[hg[n]]>0 -> gc[hg[n]]-1 : 0) :: else fi; zc--;
#ifdef FREE_TODAY
  if :: hg[n]!=cg[n] -> gc[hg[n]]++; gc[cg[n]]=(gc[cg[n]]>0 -> gc[cg[n]]-1 : 0) :: else fi;
#endif
  own[n]=0; ph[n]=0; hg[n]=0; nb[n]=0; rvk[n]=0; am[n]=0; if :: n==0 -> thn=0 :: else fi;
  touchG; touchO(n) }

/* What each commit does: n node, v nonce, x ticket's key, c by the agent's newest attempt id, o sent before the last boot. */
inline DO_ENQ(n,v,x,c,o) { tic[x]=v; touchT(x) }
inline DO_CLAIM(n,v,x,c,o) {
  assert(!STOPPED(n) && !HALTED);                                            /* a pause or halt that stands is obeyed */
  if :: !gx && cg[n]==0 -> gc[0]=BASE(n); gx=1; ge=1 :: else fi;
  own[n]=v; ph[n]=(v==HAND -> MAINTENANCE : ACQUIRED); hg[n]=cg[n]; nb[n]=o; rvk[n]=0; am[n]=0;
  gc[cg[n]]++; zc++; assert(gc[cg[n]]<=ge && zc<=ze);                        /* never more holders than slots */
  if :: tic[x]==v -> tic[x]=0; touchT(x) :: else fi;
  touchG; touchO(n) }
inline DO_ARM(n,v,x,c,o) {
  assert(!STOPPED(n) && !HALTED && !rvk[n] && !(n==0&&thn));
  assert(ph[n]==ACQUIRED || ph[n]==ARMED); ph[n]=ARMED; am[n]=c; touchO(n) }
inline DO_FREE(n,v,x,c,o) {
  if :: LEFT(n) -> own[0]=HAND; ph[0]=MAINTENANCE; thn=0; rvk[0]=0; nb[0]=0; am[0]=0; touchO(0)
     :: else ->
#ifdef FAIL_LOCAL
        if :: rem[n] -> bf[n]=0; touchB :: else fi;
#else
        if :: ph[n]==FAILED -> bf[n]=0; touchB :: else fi;
#endif
        drop_holder(n) fi }
inline DO_VERIFY(n,v,x,c,o) {
#ifdef FAIL_VERIFY
  ph[n]=VERIFYING;
#else
  ph[n]=(ph[n]==FAILED -> FAILED : VERIFYING);
#endif
  nb[n]=o; touchO(n) }
inline DO_FAIL(n,v,x,c,o) { ph[n]=FAILED; bf[n]=1; touchO(n); touchB }
inline DO_DISARM(n,v,x,c,o) { ph[n]=(ph[n]==FAILED -> FAILED : ACQUIRED); touchO(n) }
inline DO_MARK(n,v,x,c,o) { thn=1; touchO(n) }
inline DO_UNMARK(n,v,x,c,o) { thn=0; touchO(n) }
#ifdef FAIL_LOCAL
bit rem[2];                                      /* what the agent remembers of having failed */
#endif

/* One commit, sent once, with every fate; r: 0 conflict, 1 applied, 2 unknown. */
inline fate(a,k,v,x) {
  if :: r=1
     :: F>0 -> F--; r=2                                                      /* applied, the answer is lost */
     :: F>0 -> F--; r=3                                                      /* never applied */
#ifndef NOLATE
     :: F>0 && lk[a]==0 -> F--; lk[a]=k; ln[a]=v; lx[a]=x; lc[a]=1; LATE(a); r=3   /* later, or never */
#endif
  fi }
#define SEND(a,n,k,v,x) \
  if :: OK_##k(n,x,(1<<a)) -> fate(a,k,v,x); if :: r<3 -> DO_##k(n,v,x,1,0); inv() :: else -> r=2 fi :: else -> r=0 fi; UNREAD(a)

inline boots(i) { pend[i]=0; exc[i]=0; if :: own[i]!=0 -> nb[i]=1 :: else fi; if :: lk[i]!=0 -> lo[i]=1 :: else fi }

#define LANDS(k) :: lk[a]==k && OK_##k(ND(a),lx[a],(16<<a)) -> DO_##k(ND(a),ln[a],lx[a],lc[a],lo[a])
proctype net() { byte a;
end: do
  :: atomic { (lk[0]!=0 || lk[1]!=0 || lk[2]!=0) ->                           /* one that was on its way arrives */
       if :: lk[0]!=0 -> a=0 :: lk[1]!=0 -> a=1 :: lk[2]!=0 -> a=2 fi;
       if LANDS(ENQ) LANDS(CLAIM) LANDS(ARM) LANDS(FREE) LANDS(VERIFY) LANDS(FAIL) LANDS(DISARM) LANDS(MARK) LANDS(UNMARK)
          :: else fi; FGONE(a); UNLATE(a); a=0; inv() }
  :: atomic { F>0 && tic[jt[0]]!=0 -> F--; tic[jt[0]]=0; touchT(jt[0]) }      /* the session of a waiter ends */
  :: atomic { F>0 && tic[1]!=0 -> F--; tic[1]=0; touchT(1) }
  :: atomic { clidead && tic[2]!=0 -> tic[2]=0; touchT(2) }
#ifdef HOLDER_TTL
  :: atomic { F>0 && own[0]!=0 && ph[0]==ARMED -> F--; drop_holder(0); inv() }
#endif
  od }

#ifdef NOPOWER
#define CRASH :: atomic { F>0 -> F--; goto start }
#else
#define CRASH :: atomic { F>0 -> F--; goto start } :: atomic { F>0 -> F--; boots(i); goto start }
#endif
proctype agent(byte i) { byte r, tok, tries; bit re;
start: atomic {
    UNREAD(i); tok=0; re=0; tries=(tries>TRIES -> tries : tries+1);
#ifdef GROUPS
    if :: tries==2 -> cg[i]=1 :: else fi;
#endif
#ifdef FAIL_LOCAL
    rem[i]=0;
#endif
#ifdef GROUPCHANGE
    tic[(cg[i] -> 3 : i)]=0; touchT((cg[i] -> 3 : i))
#else
#ifndef NOSTART
    tic[jt[i]]=0; touchT(jt[i])                                              /* the ticket that the journal names */
#endif
#endif
  };
  atomic {                                                                   /* the table */
    if
    :: own[i]==0 -> if :: tries<=TRIES -> non[i]++; jt[i]=(cg[i] -> 3 : i); goto enq :: goto idle fi
#ifdef MAINT_START
    :: ph[i]==MAINTENANCE -> tok=own[i]; if :: nb[i] -> goto verify :: else -> goto release fi
#else
    :: ph[i]==MAINTENANCE -> goto idle                                       /* held by hand: touch nothing */
#endif
#ifdef RELEASE_ON_START
    :: ph[i]==ARMED && nb[i] -> tok=own[i]; goto release
#endif
    :: own[i]!=0 && ph[i]!=MAINTENANCE && (nb[i] || ph[i]>=VERIFYING) -> tok=own[i]; goto verify
    :: own[i]!=0 && !nb[i] && ph[i]==ARMED -> tok=own[i]; goto down          /* what was begun may still fire */
    :: own[i]!=0 && !nb[i] && ph[i]==ACQUIRED -> tok=own[i]; if :: goto held :: goto release fi
    fi };

enq: atomic {
    if :: own[i]==non[i] -> goto try
       :: own[i]!=0 && own[i]!=non[i] -> goto cancel
       :: own[i]==0 -> if :: i==0 && hd -> goto cancel :: else fi fi;
    if :: tic[jt[i]]==non[i] -> goto try
#ifdef SHAREDTICKET
       :: tic[jt[i]]!=0 && tic[jt[i]]!=non[i] -> goto try
#else
       :: tic[jt[i]]!=0 && tic[jt[i]]!=non[i] -> tic[jt[i]]=0; touchT(jt[i])   /* a stray one of an earlier life */
#endif
       :: else fi;
    SEND(i,i,ENQ,non[i],jt[i]);
    if :: r==1 -> r=0; goto try :: else -> r=0; if :: goto enq :: goto cancel fi fi };

try: atomic { READ(i);
    if :: own[i]==non[i] -> tok=non[i]; goto held
       :: own[i]!=0 && own[i]!=non[i] -> goto cancel
       :: else fi;
#ifdef SHAREDTICKET
    if :: tic[jt[i]]==0 -> goto cancel :: else fi;
#else
    if :: tic[jt[i]]!=non[i] -> UNREAD(i); if :: F>0 -> goto enq :: goto cancel fi :: else fi;
#endif
    if :: FITS(i) && !STOPPED(i) && !HALTED -> skip :: else -> UNREAD(i); goto wait fi };
  atomic { SEND(i,i,CLAIM,non[i],jt[i]);
    if :: r==1 -> r=0; tok=non[i]; goto held :: else -> r=0; if :: goto try :: goto cancel CRASH fi fi };
wait: if
  :: atomic { own[i]!=0 || tic[jt[i]]!=non[i] || (FITS(i) && !STOPPED(i) && !HALTED) -> goto try }
  :: goto cancel
  CRASH
  fi;

cancel: atomic { UNREAD(i); if :: tic[jt[i]]==non[i] -> tic[jt[i]]=0; touchT(jt[i]) :: else fi };
  atomic {
#ifdef MAINT_CANCEL
    if :: own[i]!=0 -> tok=own[i]; goto release
#else
    if :: own[i]==non[i] -> tok=non[i]; goto release
#endif
       :: else -> goto idle fi };

held: atomic { UNREAD(i); if :: goto arm :: goto release CRASH fi };             /* hooks; called off */

arm: atomic { READ(i);
    if :: own[i]!=tok -> goto idle                                           /* fenced */
#ifdef REVOKE_BLIND
       :: own[i]==tok && (STOPPED(i) || HALTED) -> goto release
#else
       :: own[i]==tok && (rvk[i] || (i==0&&thn) || STOPPED(i) || HALTED) -> goto release
#endif
       :: else fi;
    am[i]=0; lc[i]=0 };                                                      /* a new attempt id, in the journal */
#ifdef NOARM
  goto fire;
#endif
  atomic { SEND(i,i,ARM,own[i],jt[i]);
    if :: r==1 -> r=0; goto fire
       :: r==0 -> if :: goto arm :: goto release fi
       :: r==2 -> r=0; skip fi };
  atomic {
    if :: own[i]!=tok -> goto idle
#ifdef ARM_STALE
       :: own[i]==tok && ph[i]==ARMED -> goto fire
#else
       :: own[i]==tok && ph[i]==ARMED && am[i] -> goto fire                  /* confirmed by its own id only */
#endif
       :: else -> if :: goto arm :: goto release fi fi };

fire: if :: atomic { pend[i]=1; goto down } CRASH fi;
down: if
  :: atomic { pend[i] ->                                                     /* the machine goes down */
       assert(exc[i] || (own[i]==tok && ph[i]==ARMED));                      /* never without a slot that was armed for it */
       assert(exc[i] || !(i==0 && clihas));                                  /* nor while somebody works on it by hand */
       dn[i]=(exc[i] -> 0 : 1); boots(i); goto start }
  :: atomic { pend[i] -> pend[i]=0 }                                         /* the command came to nothing */
  :: atomic { !pend[i] && !re && tries<=TRIES -> re=1;
#ifdef NOREARM
       goto fire }
#else
       goto arm }
#endif
#ifdef DISARM_PENDING
  :: goto disarm
#else
  :: atomic { !pend[i] -> goto disarm }
#endif
  CRASH
  fi; goto down;
disarm: atomic { READ(i);
    if :: own[i]!=tok -> goto idle
       :: own[i]==tok && ph[i]!=ARMED -> goto release
       :: else fi;
    SEND(i,i,DISARM,0,jt[i]);
    if :: r==1 -> r=0; goto release :: else -> r=0 fi };
  if :: goto disarm CRASH fi;

verify: atomic { READ(i);
    if :: own[i]!=tok -> goto idle
       :: own[i]==tok && ph[i]>=VERIFYING && !nb[i] -> UNREAD(i); goto health
       :: else fi;
    SEND(i,i,VERIFY,0,jt[i]);
    if :: r==1 -> r=0 :: else -> r=0; if :: goto verify :: skip fi fi };
health: if
  :: atomic { dn[i]=0; goto release }                                        /* well for the dwell time */
  :: atomic { READ(i);                                                       /* the deadline */
       if :: own[i]!=tok -> goto idle :: own[i]==tok && ph[i]==FAILED -> goto failed :: else fi;
       SEND(i,i,FAIL,0,jt[i]);
       if :: r==1 -> r=0;
#ifdef FAIL_LOCAL
          rem[i]=1;
#endif
          goto failed
          :: else -> r=0; goto health fi }
  CRASH
  fi;
failed: atomic { UNREAD(i); if :: dn[i]=0; goto release :: goto idle CRASH fi };   /* recovered; stays failed */

release: atomic { READ(i); if :: own[i]==0 || own[i]!=tok -> goto idle :: else fi;
    assert(exc[i] || !pend[i]) };                                            /* nothing is given back that may still fire */
  atomic { SEND(i,i,FREE,0,jt[i]); if :: r==1 -> r=0; goto idle :: else -> r=0 fi };
  if :: goto release CRASH fi;
idle: atomic { UNREAD(i); tok=0; re=0; tries=0; r=0; done[i]=1 }
}

#ifdef SHAREDTICKET
#define HT 0
#else
#define HT 2
#endif
#ifdef MAINT_ALREADY
#define MINE (own[0]!=0)
#else
#define MINE (own[0]==HAND)
#endif
#ifndef NOCLI
proctype cli() { byte r;                                                     /* lockctl lock --wait on node 0, later unlock */
look: atomic {
    if :: MINE -> goto got
       :: !MINE && own[0]!=0 ->                                              /* the agent has it: ask it, or refuse */
            if :: ph[0]==ACQUIRED && !thn && !rvk[0] -> goto mark
               :: goto asked
               :: goto withdraw fi
       :: else fi;
    if :: hd -> goto withdraw :: else fi;
    if :: tic[HT]!=0 -> goto try :: else fi;
    SEND(2,0,ENQ,HAND,HT); r=0; if :: goto look :: goto withdraw fi };
mark: atomic { READ(2);
    if :: own[0]==0 || own[0]==HAND || ph[0]!=ACQUIRED || rvk[0] || thn -> UNREAD(2); goto asked :: else fi;
    SEND(2,0,MARK,0,2);
    if :: r==1 -> r=0; goto asked :: r==0 -> goto asked
       :: r==2 -> r=0; if :: goto mark :: clidead=1; goto withdraw fi fi };    /* given up with an unknown: it says so */
asked: if :: atomic { own[0]==0 || own[0]==HAND -> goto look } :: goto withdraw :: atomic { F>0 -> F--; clidead=1; goto out } fi;
try: atomic { READ(2);
    if :: MINE -> goto got
       :: !MINE && (own[0]!=0 || tic[HT]==0) -> UNREAD(2); if :: goto withdraw :: own[0]!=0 -> goto look fi
       :: else fi;
    if :: FITS(0) && !STOPPED(0) && !HALTED -> skip :: else -> UNREAD(2); goto wait fi };
  atomic { SEND(2,0,CLAIM,HAND,HT); if :: r==1 -> r=0; goto got :: else -> r=0 fi };
wait: if :: atomic { own[0]!=0 || tic[HT]==0 || (FITS(0) && !STOPPED(0) && !HALTED) -> goto try }
         :: goto withdraw :: atomic { F>0 -> F--; clidead=1; goto out } fi;
withdraw: atomic { if :: thn -> READ(2); SEND(2,0,UNMARK,0,HT); if :: r==1 -> r=0 :: else -> r=0; goto withdraw fi :: else fi };
  atomic { if :: tic[HT]==HAND -> tic[HT]=0; touchT(HT) :: else fi };
  atomic { if :: own[0]==HAND -> goto got :: else -> goto out fi };
got: atomic { UNREAD(2); clihas=MINE; assert(MINE || opk) };                                         /* somebody works on the machine */
  atomic { assert(!clihas || MINE); clihas=0 };
unlock: atomic { READ(2); if :: own[0]!=HAND -> goto out :: else fi };
  atomic { SEND(2,0,FREE,0,HT); if :: r==1 -> goto out :: else -> r=0; goto unlock fi };
out: atomic { UNREAD(2); r=0; clidone=1 }
}
#endif

inline force(n) {
#ifndef FAIL_FORCE
  if :: ph[n]==FAILED -> bf[n]=0; touchB :: else fi;
#endif
  if :: own[n]==HAND -> opk=1; clihas=0 :: else fi; dn[n]=0;
  drop_holder(n); inv() }
proctype oper() { byte k, n, cnt, bad;
  do
  :: k<OPS -> k++;
     if
     :: atomic { ge=3-ge; touchG }                                         /* set-max, up or down */
     :: atomic { ze=3-ze; touchG }
     :: atomic { pz=1-pz; touchC }                                         /* pause, resume: the fleet, the group, node 0 */
     :: atomic { bz=1-bz; touchB }
     :: atomic { hd=1-hd; vC=vC&170 }
     :: atomic { HALTED -> if :: bf[0]==1 -> bf[0]=2 :: else fi; if :: bf[1]==1 -> bf[1]=2 :: else fi; touchB }   /* ack */
#ifdef GUARDLOSS
     :: atomic { gx -> gx=0; touchG }                                      /* somebody deletes the guard by hand */
#endif
     :: n=0; goto act
#ifndef ONENODE
     :: n=1; goto act
#endif
#ifdef FSCK_ORDER
     :: atomic { cnt=COUNT(0); bad=(own[0]!=0&&ph[0]==FAILED) }; atomic { vG=vG|8; vB=vB|8 }; goto mend
#else
     :: atomic { vG=vG|8; vB=vB|8 }; atomic { cnt=COUNT(0); bad=(own[0]!=0&&ph[0]==FAILED) }; goto mend   /* fsck: guard first */
#endif
     :: break
     fi; goto next;
mend: atomic { if :: vG&8 -> if :: !gx -> ge=1 :: else fi; gx=1; gc[0]=cnt; touchG :: else fi;
       if :: (vB&8) && bad!=(bf[0]!=0) -> bf[0]=bad; touchB :: else fi; cnt=0; bad=0; vG=vG&247; vB=vB&247; inv() };
     goto next;
act: atomic { if
     :: own[n]!=0 && (ph[n]==ACQUIRED || ph[n]==FAILED || ph[n]==MAINTENANCE) -> force(n)
     :: own[n]!=0 && (ph[n]==ARMED || ph[n]==VERIFYING) -> exc[n]=1; force(n)      /* the machine is known to be off, he says */
     :: own[n]!=0 && own[n]!=HAND && ph[n]<FAILED && !rvk[n] -> rvk[n]=1; touchO(n)      /* unlock asks */
     :: else fi; n=0 };
next: skip
  :: break
  od; atomic { k=0; n=0 } }

init { atomic { jt[1]=1; jt[0]=0; run net(); run agent(0);
#ifndef ONENODE
   run agent(1);
#else
   done[1]=1;
#endif
#ifndef NOCLI
   run cli();
#else
   clidone=1;
#endif
   run oper() };
  /* At rest nothing has leaked: only a failed node, or a hold by hand whose taker was killed, may still have a slot. */
  atomic { done[0] && done[1] && clidone && lk[0]==0 && lk[1]==0 && lk[2]==0 ->
   assert(own[0]==0 || ph[0]==FAILED || (own[0]==HAND && clidead));
   assert(own[1]==0 || ph[1]==FAILED) } }
