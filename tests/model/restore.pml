/* A store that comes back from a backup: identity and epoch in cfg and journal, PutHolderBack (holding.put_back), `lockctl restored`
   (semaphore/restoring.py), the steady look that runs START again (core/waiting.py), and the operator who waits before he resumes.

   Two nodes, one group with one slot. The backup is taken at any time and comes back at any later one, once. Nobody reaches the
   store until the operator has said `lockctl restored`: the new epoch and the fleet's pause are one commit. He resumes when both
   nodes' records say the new epoch. Crashes and power cuts: FAULTS; forced unlocks: OPS; attempts: TRIES.
   Commits are answered (slots.pml has the others); a snapshot is good for a commit while the keys have not changed; a revision that
   the restored store gives out again is taken to be another one. */
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef OPS
#define OPS 1
#endif
#ifndef TRIES
#define TRIES 2
#endif
#define ACQUIRED 1
#define ARMED 2
#define VERIFYING 3
#define CLAIMING 1                              /* stages of the journal */
#define HELD 2
#define JARMED 3
#define JVERIFYING 4
#define RELEASING 5
/* ---- the store, and its backup */
byte gc, own[2], ph[2], hb[2], ul[2], epoch=1;  /* count; holder's nonce, phase, boot; unlock record's nonce */
bit paused;
byte xgc, xown[2], xph[2], xhb[2], xul[2];
bit taken, back, said, going;                   /* backup taken; restored; `lockctl restored`; resumed after it */
bit chg, cho[2];                                /* changed since the backup: guard, holders */
/* ---- the nodes: boot, journal (nonce, stage, epoch), epoch of the last START, down under its slot and not yet well */
byte bt[2], jn[2], js[2], je[2], se[2]; bit dn[2], pend[2], lost[2];
byte F=FAULTS; bit done[2], vg[2], vo[2], vc[2];
#define CHG chg=1; vg[0]=0; vg[1]=0
#define CHO(n) cho[n]=1; vo[n]=0
#define COUNT ((own[0]!=0)+(own[1]!=0))
inline inv() { assert(gc==COUNT) }
inline free(n) { gc--; own[n]=0; ph[n]=0; hb[n]=0; CHG; CHO(n); inv() }
#ifdef GAP
#define REACH (true)
#else
#define REACH (!back || said)                   /* nobody reaches a restored store before the new epoch */
#endif
#define SAFE(j) (!dn[j] || own[j]!=0)           /* who is down under a slot, or not yet well, holds one */

proctype agent(byte i) { byte non, tries, jb;
start: atomic { REACH -> vg[i]=0; vo[i]=0; vc[i]=0; done[i]=0;
    if
    :: own[i]==0 && (js[i]<=CLAIMING || js[i]==RELEASING) -> js[i]=0; jn[i]=0; je[i]=0; se[i]=epoch; lost[i]=0; goto steady
    :: own[i]==0 && js[i]>CLAIMING && js[i]!=RELEASING && ul[i]==jn[i] ->           /* an operator took it, says the record */
         js[i]=0; jn[i]=0; je[i]=0; dn[i]=0; pend[i]=0; se[i]=epoch; lost[i]=0; goto steady
    :: own[i]==0 && js[i]>CLAIMING && js[i]!=RELEASING && ul[i]!=jn[i] ->
#ifdef NOPUTBACK
         js[i]=0; jn[i]=0; je[i]=0; se[i]=epoch; lost[i]=0; goto steady
#else
         if :: je[i]!=epoch ->                                                     /* the backup does not know it: put it back */
                 own[i]=jn[i]; ph[i]=(js[i]==JARMED -> ARMED : (js[i]==HELD -> ACQUIRED : VERIFYING)); hb[i]=jb; CHO(i);
#ifndef PUTBACK_UNCOUNTED
                 gc++; CHG;
#endif
                 je[i]=epoch; inv(); goto start
            :: else -> goto unready fi
#endif
#ifndef AS_BUILT
    :: own[i]!=0 && js[i]==JARMED && pend[i] -> goto down                          /* the journal says armed in this boot: may it still fire? */
#define TOLD (js[i]==JARMED && pend[i])
#else
#define TOLD false
#endif
    :: own[i]!=0 && !(TOLD) -> se[i]=epoch;
         if :: jn[i]!=own[i] ->                                                    /* the journal is of another attempt, or there is none */
                 jn[i]=own[i]; je[i]=epoch; js[i]=(ph[i]==ARMED && hb[i]==bt[i] -> RELEASING : HELD); jb=hb[i]
            :: jn[i]==own[i] && js[i]==CLAIMING -> js[i]=HELD; je[i]=epoch; jb=hb[i]
            :: else fi;
         lost[i]=0;
         if :: hb[i]!=bt[i] || ph[i]==VERIFYING -> goto verify
            :: hb[i]==bt[i] && ph[i]==ARMED -> goto down
            :: else -> if :: js[i]!=RELEASING -> goto arm :: goto release fi fi
    fi };
unready: atomic { REACH && (je[i]!=epoch || own[i]!=0 || ul[i]==jn[i]) -> goto start };
steady: atomic { if :: tries<TRIES -> tries++; non=2*tries+i; jn[i]=non; js[i]=CLAIMING; je[i]=0 :: goto idle fi };
try: atomic { REACH ->
    if :: own[i]==non -> je[i]=epoch; goto won
       :: own[i]!=0 && own[i]!=non -> goto start
       :: own[i]==0 && se[i]!=epoch -> goto start                                  /* the steady look sees a new epoch */
       :: own[i]==0 && se[i]==epoch && gc<1 && !paused -> vg[i]=1; vo[i]=1; vc[i]=1
       :: own[i]==0 && se[i]==epoch && (gc>=1 || paused) -> goto wait fi };
  atomic { REACH ->
    if :: vg[i] && vo[i] && vc[i] && own[i]==0 ->
            assert(SAFE(1-i));                                                     /* nobody else is down without a slot */
            gc++; own[i]=non; ph[i]=ACQUIRED; hb[i]=bt[i]; CHG; CHO(i); assert(gc<=1); inv(); je[i]=epoch; goto won
       :: else -> goto try fi };
wait: if :: atomic { REACH && (own[i]!=0 || se[i]!=epoch || (gc<1 && !paused)) -> goto try }
         :: atomic { F>0 -> F--; goto start }
         :: atomic { REACH -> js[i]=RELEASING; goto start } fi;
won: atomic { js[i]=HELD; jb=bt[i] };
arm: atomic { REACH ->
    if :: own[i]!=jn[i] -> goto start
       :: own[i]==jn[i] && (paused || je[i]!=epoch) -> goto release
       :: else -> if :: vo[i]=1; vc[i]=1; js[i]=JARMED :: goto release :: F>0 -> F--; goto start fi fi };
  atomic { REACH ->
    if :: vo[i] && vc[i] && own[i]==jn[i] -> assert(!paused); ph[i]=ARMED; CHO(i); pend[i]=1
       :: else -> goto arm fi };
down: if
  :: atomic { pend[i] -> assert(lost[i] || (own[i]==jn[i] && ph[i]==ARMED));        /* lost: told before the store was */
       dn[i]=1; pend[i]=0; bt[i]++; goto start }
  :: atomic { pend[i] -> pend[i]=0 }
  :: atomic { REACH && !pend[i] && own[i]==jn[i] && hb[i]==bt[i] -> CHO(i); ph[i]=ACQUIRED; goto release }
  :: atomic { REACH && !pend[i] && !(own[i]==jn[i] && hb[i]==bt[i]) -> goto start }
  :: atomic { F>0 -> F--; goto start }
  fi; goto down;
verify: atomic { REACH -> js[i]=JVERIFYING; if :: own[i]!=jn[i] -> goto start :: else -> ph[i]=VERIFYING; hb[i]=bt[i]; CHO(i); jb=bt[i] fi };
  if :: dn[i]=0 :: atomic { F>0 -> F--; goto start } :: atomic { F>0 -> F--; bt[i]++; pend[i]=0; goto start } fi;
release: atomic { js[i]=RELEASING };
  atomic { REACH -> if :: own[i]!=jn[i] -> goto start :: else -> assert(!pend[i]); free(i); js[i]=0; jn[i]=0; je[i]=0; goto start fi };
idle: atomic { done[i]=1 };
endidle: atomic { REACH && (se[i]!=epoch || own[i]!=0) -> goto start }
}
byte k;
proctype oper() {
  do
  :: atomic { k<OPS && own[0]!=0 && ph[0]==ACQUIRED && REACH -> k++; ul[0]=own[0]; dn[0]=0; lost[0]=1; free(0) }
  :: atomic { !taken -> taken=1; xgc=gc; xown[0]=own[0]; xown[1]=own[1]; xph[0]=ph[0]; xph[1]=ph[1]; xhb[0]=hb[0]; xhb[1]=hb[1];
       xul[0]=ul[0]; chg=0; cho[0]=0; cho[1]=0 }
  :: atomic { taken && !back -> back=1; gc=xgc; own[0]=xown[0]; own[1]=xown[1]; ph[0]=xph[0]; ph[1]=xph[1]; hb[0]=xhb[0]; hb[1]=xhb[1];
       ul[0]=xul[0]; if :: chg -> vg[0]=0; vg[1]=0 :: else fi; if :: cho[0] -> vo[0]=0 :: else fi; if :: cho[1] -> vo[1]=0 :: else fi;
       lost[0]=(js[0]==JARMED); lost[1]=(js[1]==JARMED);
       xgc=0; xown[0]=0; xown[1]=0; xph[0]=0; xph[1]=0; xhb[0]=0; xhb[1]=0; xul[0]=0 }
#ifdef TWO_COMMITS
  :: atomic { back && !said && epoch==1 -> epoch=2; vc[0]=0; vc[1]=0; said=1; vc[0]=0 }     /* the epoch first, the pause afterwards */
  :: atomic { said && !paused && !going -> paused=1; vc[0]=0; vc[1]=0 }
#else
  :: atomic { back && !said -> said=1; epoch=2; paused=1; vc[0]=0; vc[1]=0 }
#endif
#ifdef EARLY
  :: atomic { paused && !going -> going=1; paused=0; vc[0]=0; vc[1]=0 }
#else
  :: atomic { paused && !going && se[0]==epoch && se[1]==epoch -> going=1; paused=0; vc[0]=0; vc[1]=0 }
#endif
  :: atomic { !back || going -> break }
  od }
init { atomic { se[0]=1; se[1]=1; run agent(0); run agent(1); run oper() };
end: atomic { done[0] && done[1] && se[0]==epoch && se[1]==epoch && !paused && REACH -> assert(own[0]==0 && own[1]==0) } }
