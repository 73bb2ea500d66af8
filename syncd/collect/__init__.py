"""Garbage collection beside live writers: what nobody needs is deleted, and nothing else, whoever stalls for how long.

The one idea: a writer that chose what to refer to before a collection began cannot be told to stop, but its entry can
be made to count for nothing. So a collection *fences* every log before it deletes: behind the fence only entries count
that have seen the collection, and who has seen it refers to nothing it condemned. No clock, no lock, no waiting for
anybody; ages (`params`) only decide what is worth condemning.

The order, each step a file; any number of collections may be at any of them at once:

1. `look`: ask the store what time it is, list packs, manifests and lists of packs in use.
2. `sentences`: what earlier epochs condemned.
3. `survey`: replay the registry and every log; `needed` is what versions, kept versions, links and open groups hold.
4. `marks`, `plan`: read their manifests; what is listed, not marked, old enough and in no running upload's list is to
   be condemned. A dry run ends here.
5. `fence.condemn`: put the epoch, if absent. From here on writers that look refer to none of it.
6. `fence.fence`: fence the registry, then every log it names; an empty one gets its slot 0 from us.
7. `marks` again: what entries before the fences refer to, that step 3 has not seen.
8. `fence.end`: put the epoch's end: what is marked is rescued. **From here on the rest may be deleted, for ever.**
9. `sweep`: delete what ended epochs condemned and whose grace is over.
10. `sparse`, `rewrite`: move what nearly empty packs still hold.

| a crash after | leaves | who cleans |
|---|---|---|
| 1 to 4 | a probe object | the next collection, when it is old |
| 5, 6, 7 | an epoch without an end: writers avoid its names, nothing may be deleted | the next collection ends it |
| 8 | an epoch that has ended | the sweep of the next collection |
| some of 9 | the rest of the names | the same |
| some of 10 | packs or manifests nobody refers to | the next collection condemns them |

(A fence is one for every epoch before its own, so whoever fences may end the epochs that others left.)

It fails closed: a log or a manifest that cannot be read stops it before anything more is deleted. It refuses to run
where it may not delete. Memory: some hundred bytes a pack and a version; artifacts are replayed and let go one by one.

Nothing outside of this room deletes in the remote or lists it, but for the probe of `syncd init`.
"""
