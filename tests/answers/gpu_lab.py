"""Answers to the exercises of chapter 12, wrong ones and right ones."""

import queue
import threading
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional as F

from answers.kit import right, wrong
from course.exercises import gpu_lab

epoch_figures, accumulated = gpu_lab.epoch_figures, gpu_lab.accumulated
choose_batch, prefetched = gpu_lab.choose_batch, gpu_lab.prefetched
self_times, own_step = gpu_lab.self_times, gpu_lab.own_step

# Hidden waits -------------------------------------------------------------------------


@right(epoch_figures)
def figures_summed_on_the_device(batches):
    total, hits = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    seen = 0
    for logits, labels in batches:
        total += F.cross_entropy(logits, labels) * len(labels)
        hits += logits.argmax(1).eq(labels).sum()
        seen += labels.shape[0]
    return float(total / seen), float(hits / seen)


@right(epoch_figures)
def figures_of_one_large_batch(batches):
    logits = torch.cat([logits for logits, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    loss = F.cross_entropy(logits, labels)
    accuracy = (logits.max(dim=1).indices == labels).double().mean()
    return loss.item(), accuracy.item()


@right(epoch_figures)
def figures_copied_once(batches):
    rows = []
    for logits, labels in batches:
        chosen = logits.log_softmax(dim=1).gather(1, labels[:, None])
        hits = torch.where(logits.argmax(dim=1) == labels, 1.0, 0.0)
        rows.append(torch.stack([-chosen.sum(), hits.sum()]))
    loss, hits = torch.stack(rows).sum(dim=0).cpu().numpy()
    seen = sum(labels.numel() for _, labels in batches)
    return [float(loss) / seen, float(hits) / seen]


@right(epoch_figures)
def figures_in_one_list(batches):
    sums = [
        (F.cross_entropy(x, y, reduction="sum"), (x.argmax(1) == y).sum())
        for x, y in batches
    ]
    losses, hits = (torch.stack(one).sum() for one in zip(*sums, strict=True))
    seen = sum(len(y) for _, y in batches)
    return tuple((torch.stack([losses, hits]) / seen).tolist())


def sums_of(batches):
    losses = [F.cross_entropy(x, y, reduction="sum") for x, y in batches]
    hits = [(x.argmax(dim=1) == y).sum() for x, y in batches]
    return losses, hits, [len(y) for _, y in batches]


def total(values):
    return sum(values).item()


@wrong(epoch_figures, "a number read in every batch")
def figures_with_items(batches):
    losses, hits, sizes = sums_of(batches)
    seen = sum(sizes)
    return sum(x.item() for x in losses) / seen, sum(int(x) for x in hits) / seen


@wrong(epoch_figures, "a number read in every batch")
def figures_as_handed_out_but_for_if(batches):
    loss_sum = right_ones = seen = 0
    for logits, labels in batches:
        loss_sum += F.cross_entropy(logits, labels, reduction="sum").item()
        hit = logits.argmax(dim=1) == labels
        right_ones += len(labels[hit])
        seen += len(labels)
    return loss_sum / seen, right_ones / seen


@wrong(epoch_figures, "a number read in every batch")
def figures_printed(batches):
    losses, hits, sizes = sums_of(batches)
    for loss in losses:
        print(f"{loss:.3f}")
    return total(losses) / sum(sizes), total(hits) / sum(sizes)


@wrong(epoch_figures, "a decision in every batch")
def figures_with_the_worst(batches):
    losses, hits, sizes = sums_of(batches)
    worst = torch.zeros(())
    for loss in losses:
        if loss > worst:
            worst = loss
    return total(losses) / sum(sizes), total(hits) / sum(sizes)


@wrong(epoch_figures, "a mask in every batch", score=15 / 17)
def figures_by_a_mask(batches):
    losses, _, sizes = sums_of(batches)
    found = sum(len(y[x.argmax(dim=1) == y]) for x, y in batches)
    return total(losses) / sum(sizes), found / sum(sizes)


@wrong(epoch_figures, "a mask in every batch")
def figures_by_places(batches):
    losses, _, sizes = sums_of(batches)
    found = sum(len((x.argmax(dim=1) == y).nonzero()) for x, y in batches)
    return total(losses) / sum(sizes), found / sum(sizes)


@wrong(epoch_figures, "a copy in every batch")
def figures_in_numpy(batches):
    losses, _, sizes = sums_of(batches)
    found = sum(np.sum(x.argmax(dim=1).numpy() == y.cpu().numpy()) for x, y in batches)
    return total(losses) / sum(sizes), found / sum(sizes)


@wrong(epoch_figures, "a copy in every batch")
def figures_moved_at_once(batches):
    moved = [(x.to("cpu"), y.to("cpu")) for x, y in batches]
    losses, hits, sizes = sums_of(moved)
    return total(losses) / sum(sizes), total(hits) / sum(sizes)


@wrong(epoch_figures, "read back more than twice", score=16 / 17)
def figures_with_a_last_look(batches):
    losses, hits, sizes = sums_of(batches)
    if not torch.stack(losses).isfinite().all():
        raise ValueError("a loss is not finite")
    return total(losses) / sum(sizes), total(hits) / sum(sizes)


@wrong(epoch_figures, "left on the device")
def figures_never_read(batches):
    losses, hits, sizes = sums_of(batches)
    return sum(losses) / sum(sizes), sum(hits) / sum(sizes)


@wrong(epoch_figures, "mean of the batches' losses")
def figures_of_mean_losses(batches):
    _, hits, sizes = sums_of(batches)
    losses = [F.cross_entropy(x, y) for x, y in batches]
    return torch.stack(losses).mean().item(), total(hits) / sum(sizes)


@wrong(epoch_figures, "mean of the batches' accuracies")
def figures_of_mean_accuracies(batches):
    losses, _, sizes = sums_of(batches)
    shares = [(x.argmax(dim=1) == y).float().mean() for x, y in batches]
    return total(losses) / sum(sizes), torch.stack(shares).mean().item()


@wrong(epoch_figures, "loss and accuracy swapped")
def figures_swapped(batches):
    losses, hits, sizes = sums_of(batches)
    return total(hits) / sum(sizes), total(losses) / sum(sizes)


@wrong(epoch_figures, "loss not divided")
def figures_of_a_sum(batches):
    losses, hits, sizes = sums_of(batches)
    return total(losses), total(hits) / sum(sizes)


@wrong(epoch_figures, "loss divided by the batches")
def figures_by_batches(batches):
    losses, hits, sizes = sums_of(batches)
    return total(losses) / len(batches), total(hits) / sum(sizes)


@wrong(epoch_figures, "right answers counted")
def figures_of_a_count(batches):
    losses, hits, sizes = sums_of(batches)
    return total(losses) / sum(sizes), total(hits)


@wrong(epoch_figures, "loss of the last batch")
def figures_of_the_last_loss(batches):
    losses, hits, sizes = sums_of(batches)
    return losses[-1].item() / sizes[-1], total(hits) / sum(sizes)


@wrong(epoch_figures, "accuracy of the last batch")
def figures_of_the_last_hits(batches):
    losses, hits, sizes = sums_of(batches)
    return total(losses) / sum(sizes), hits[-1].item() / sizes[-1]


@wrong(epoch_figures, "another mean loss")
def figures_of_a_smoothed_loss(batches):
    _, hits, sizes = sums_of(batches)
    losses = [
        F.cross_entropy(x, y, reduction="sum", label_smoothing=0.1) for x, y in batches
    ]
    return total(losses) / sum(sizes), total(hits) / sum(sizes)


@wrong(epoch_figures, "another accuracy")
def figures_of_the_least(batches):
    losses, _, sizes = sums_of(batches)
    hits = [(x.argmin(dim=1) == y).sum() for x, y in batches]
    return total(losses) / sum(sizes), total(hits) / sum(sizes)


@wrong(epoch_figures, "no pair of numbers")
def figures_of_one(batches):
    losses, _, sizes = sums_of(batches)
    return total(losses) / sum(sizes)


# A batch in pieces --------------------------------------------------------------------


@right(accumulated)
def accumulated_by_weights(network, images, labels, most):
    for parameter in network.parameters():
        parameter.grad = None
    loss = 0.0
    for start in range(0, len(images), most):
        seen, wanted = images[start : start + most], labels[start : start + most]
        part = F.cross_entropy(network(seen), wanted)
        weight = len(seen) / len(images)
        (part * weight).backward()
        loss += part.item() * weight
    return loss


@right(accumulated)
def accumulated_by_hand(network, images, labels, most):
    parameters = list(network.parameters())
    sums = [torch.zeros_like(p) for p in parameters]
    loss = torch.zeros(())
    for seen, wanted in zip(images.split(most), labels.split(most), strict=True):
        part = F.cross_entropy(network(seen), wanted, reduction="sum")
        for held, one in zip(sums, torch.autograd.grad(part, parameters), strict=True):
            held += one
        loss += part.detach()
    for parameter, held in zip(parameters, sums, strict=True):
        parameter.grad = held / len(images)
    return loss / len(images)


@right(accumulated)
def accumulated_image_by_image(network, images, labels, most):
    network.zero_grad(set_to_none=False)
    losses = []
    for image, label in zip(images, labels, strict=True):
        loss = -network(image[None]).log_softmax(1)[0, label]
        loss.backward()
        losses.append(loss.item())
    for parameter in network.parameters():
        parameter.grad /= len(images)
    return sum(losses) / len(losses)


@right(accumulated)
def accumulated_in_pieces_of_one_size(network, images, labels, most):
    network.zero_grad()
    pieces = -(-len(images) // most)
    found = []
    pairs = zip(images.tensor_split(pieces), labels.tensor_split(pieces), strict=True)
    for seen, wanted in pairs:
        losses = F.cross_entropy(network(seen), wanted, reduction="none")
        losses.sum().div(len(images)).backward()
        found.append(losses.detach())
    return torch.cat(found).mean()


def pieces_of(images, labels, most):
    return zip(images.split(most), labels.split(most), strict=True)


@wrong(accumulated, "mean of the pieces' means")
def accumulated_as_often_written(network, images, labels, most):
    network.zero_grad()
    pieces, loss = list(pieces_of(images, labels, most)), 0.0
    for seen, wanted in pieces:
        part = F.cross_entropy(network(seen), wanted) / len(pieces)
        part.backward()
        loss += part.item()
    return loss


@wrong(accumulated, "a smaller last piece counted as a full one")
def accumulated_as_if_full(network, images, labels, most):
    network.zero_grad()
    pieces, loss = list(pieces_of(images, labels, most)), 0.0
    for seen, wanted in pieces:
        part = F.cross_entropy(network(seen), wanted, reduction="sum")
        part = part / most / len(pieces)
        part.backward()
        loss += part.item()
    return loss


@wrong(accumulated, "means added and not divided")
def accumulated_without_dividing(network, images, labels, most):
    network.zero_grad()
    loss = 0.0
    for seen, wanted in pieces_of(images, labels, most):
        part = F.cross_entropy(network(seen), wanted)
        part.backward()
        loss += part.item()
    return loss


@wrong(accumulated, "summed instead of averaged")
def accumulated_sums(network, images, labels, most):
    network.zero_grad()
    loss = 0.0
    for seen, wanted in pieces_of(images, labels, most):
        part = F.cross_entropy(network(seen), wanted, reduction="sum")
        part.backward()
        loss += part.item()
    return loss


@wrong(accumulated, "gradient of the last piece alone")
def accumulated_cleared_again(network, images, labels, most):
    loss = 0.0
    for seen, wanted in pieces_of(images, labels, most):
        network.zero_grad()
        part = F.cross_entropy(network(seen), wanted, reduction="sum") / len(images)
        part.backward()
        loss += part.item()
    return loss


@wrong(accumulated, "old gradients kept", score=4 / 5)
def accumulated_on_top(network, images, labels, most):
    loss = 0.0
    for seen, wanted in pieces_of(images, labels, most):
        part = F.cross_entropy(network(seen), wanted, reduction="sum") / len(images)
        part.backward()
        loss += part.item()
    return loss


@wrong(accumulated, "a smaller last piece dropped")
def accumulated_full_pieces(network, images, labels, most):
    network.zero_grad()
    loss = 0.0
    for start in range(0, len(images) - most + 1, most):
        seen, wanted = images[start : start + most], labels[start : start + most]
        part = F.cross_entropy(network(seen), wanted, reduction="sum") / len(images)
        part.backward()
        loss += part.item()
    return loss


@wrong(accumulated, "one backward at the end")
def accumulated_then_backward(network, images, labels, most):
    network.zero_grad()
    loss = 0
    for seen, wanted in pieces_of(images, labels, most):
        loss = loss + F.cross_entropy(network(seen), wanted) * len(seen) / len(images)
    loss.backward()
    return loss.detach()


@wrong(accumulated, "one backward at the end")
def accumulated_of_all_logits(network, images, labels, most):
    network.zero_grad()
    logits = torch.cat([network(seen) for seen in images.split(most)])
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    return loss.item()


@wrong(accumulated, "most taken for the number of pieces")
def accumulated_in_chunks(network, images, labels, most):
    network.zero_grad()
    loss = 0.0
    for seen, wanted in zip(images.chunk(most), labels.chunk(most), strict=True):
        part = F.cross_entropy(network(seen), wanted, reduction="sum") / len(images)
        part.backward()
        loss += part.item()
    return loss


@wrong(accumulated, "the whole batch at once")
def accumulated_not_at_all(network, images, labels, most):
    network.zero_grad(set_to_none=True)
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    return loss.item()


@wrong(accumulated, "no gradient left", score=0)
def accumulated_without_backward(network, images, labels, most):
    network.zero_grad()
    with torch.no_grad():
        parts = [
            F.cross_entropy(network(seen), wanted, reduction="sum")
            for seen, wanted in pieces_of(images, labels, most)
        ]
    return sum(parts) / len(images)


@wrong(accumulated, "loss of the last piece returned")
def accumulated_with_the_last_loss(network, images, labels, most):
    network.zero_grad()
    for seen, wanted in pieces_of(images, labels, most):
        loss = F.cross_entropy(network(seen), wanted, reduction="sum") / len(images)
        loss.backward()
    return loss.detach()


@wrong(accumulated, "mean of the pieces' losses returned")
def accumulated_with_a_mean_of_means(network, images, labels, most):
    network.zero_grad()
    means = []
    for seen, wanted in pieces_of(images, labels, most):
        loss = F.cross_entropy(network(seen), wanted)
        (loss * (len(seen) / len(images))).backward()
        means.append(loss.item())
    return sum(means) / len(means)


# A batch size from a curve ------------------------------------------------------------


@right(choose_batch)
def choose_going_up(rows, limit_mb, share):
    fits = sorted(
        (row["batch"], row["images_a_second"])
        for row in rows
        if row["mb"] is not None and row["mb"] <= limit_mb
    )
    best = max((speed for _, speed in fits), default=None)
    for batch, speed in fits:
        if speed >= best * share:
            return batch
    return 0


@right(choose_batch)
def choose_in_numpy(rows, limit_mb, share):
    table = np.array(
        [[r["batch"], r["images_a_second"], r["mb"]] for r in rows], dtype=float
    )
    table = table[table[:, 2] <= limit_mb]  # NaN is below nothing
    if not len(table):
        return 0
    return int(table[table[:, 1] >= share * table[:, 1].max(), 0].min())


@right(choose_batch)
def choose_by_a_loop(rows, limit_mb, share):
    best, chosen = 0, 0
    for row in rows:
        if row["mb"] and row["mb"] <= limit_mb:
            best = max(best, row["images_a_second"])
    for row in rows:
        fits = row["mb"] and row["mb"] <= limit_mb
        if (
            fits
            and row["images_a_second"] >= share * best
            and (not chosen or row["batch"] < chosen)
        ):
            chosen = row["batch"]
    return chosen


def fitting(rows, limit_mb):
    return [r for r in rows if r["mb"] is not None and r["mb"] <= limit_mb]


def speed_of(row):
    return row["images_a_second"]


def batches_from(rows, least):
    return [row["batch"] for row in rows if speed_of(row) >= least]


@wrong(choose_batch, "the largest that fits")
def choose_the_largest(rows, limit_mb, share):
    return max((row["batch"] for row in fitting(rows, limit_mb)), default=0)


@wrong(choose_batch, "the fastest that fits")
def choose_the_fastest(rows, limit_mb, share):
    kept = sorted(fitting(rows, limit_mb), key=speed_of)
    return kept[-1]["batch"] if kept else 0


@wrong(choose_batch, "the largest that reaches the share")
def choose_the_largest_of_the_fast(rows, limit_mb, share):
    kept = fitting(rows, limit_mb)
    best = max(map(speed_of, kept), default=0)
    return max(batches_from(kept, share * best), default=0)


@wrong(choose_batch, "the best over all, fitting or not")
def choose_by_the_best_of_all(rows, limit_mb, share):
    best = max(speed_of(row) for row in rows if row["mb"]) if rows[0]["mb"] else 0
    best = max([best, *(speed_of(row) or 0 for row in rows)])
    return min(batches_from(fitting(rows, limit_mb), share * best), default=0)


@wrong(choose_batch, "the limit not asked")
def choose_what_ran(rows, limit_mb, share):
    kept = [row for row in rows if row["mb"] is not None]
    best = max(map(speed_of, kept), default=0)
    return min(batches_from(kept, share * best), default=0)


@wrong(choose_batch, "the smallest, however slow")
def choose_the_smallest(rows, limit_mb, share):
    return min((row["batch"] for row in fitting(rows, limit_mb)), default=0)


@wrong(choose_batch, "just the limit refused", score=6 / 7)
def choose_below_the_limit(rows, limit_mb, share):
    kept = [row for row in fitting(rows, limit_mb) if row["mb"] != limit_mb]
    best = max(map(speed_of, kept), default=0)
    return min(batches_from(kept, share * best), default=0)


@wrong(choose_batch, "just the share refused", score=6 / 7)
def choose_above_the_share(rows, limit_mb, share):
    kept = fitting(rows, limit_mb)
    best = max(map(speed_of, kept), default=0)
    found = [row["batch"] for row in kept if speed_of(row) / best > share]
    return min(found, default=0)


@wrong(choose_batch, "the first row that will do", score=6 / 7)
def choose_the_first(rows, limit_mb, share):
    kept = fitting(rows, limit_mb)
    best = max(map(speed_of, kept), default=0)
    return next(iter(batches_from(kept, share * best)), 0)


@wrong(choose_batch, "the last row taken for the best")
def choose_by_the_last(rows, limit_mb, share):
    kept = fitting(rows, limit_mb)
    return min(batches_from(kept, share * speed_of(kept[-1]))) if kept else 0


@wrong(choose_batch, "the largest taken for the best")
def choose_by_the_largest(rows, limit_mb, share):
    kept = sorted(fitting(rows, limit_mb), key=lambda row: row["batch"])
    return min(batches_from(kept, share * speed_of(kept[-1]))) if kept else 0


@wrong(choose_batch, "share taken for what may be lost")
def choose_with_a_loss(rows, limit_mb, share):
    kept = fitting(rows, limit_mb)
    best = max(map(speed_of, kept), default=0)
    return min(batches_from(kept, best - share * best), default=0)


@wrong(choose_batch, "None compared with a number")
def choose_as_if_all_ran(rows, limit_mb, share):
    kept = [row for row in rows if row["mb"] <= limit_mb]
    best = max(map(speed_of, kept), default=0)
    return min(batches_from(kept, share * best), default=0)


@wrong(choose_batch, "none fits, and that not expected", score=6 / 7)
def choose_one_at_any_rate(rows, limit_mb, share):
    kept = fitting(rows, limit_mb)
    return min(batches_from(kept, share * max(map(speed_of, kept))))


@wrong(choose_batch, "None taken for zero", score=6 / 7)
def choose_with_zeros(rows, limit_mb, share):
    kept = [(r["batch"], speed_of(r) or 0) for r in rows if (r["mb"] or 0) <= limit_mb]
    best = max((speed for _, speed in kept), default=0)
    return min((b for b, speed in kept if speed >= share * best), default=0)


@wrong(choose_batch, "the row instead of its batch")
def choose_a_row(rows, limit_mb, share):
    kept = fitting(rows, limit_mb)
    best = max(map(speed_of, kept), default=0)
    found = [row for row in kept if speed_of(row) >= share * best]
    return min(found, key=lambda row: row["batch"], default=0)


# A loader that works ahead ------------------------------------------------------------


@right(prefetched)
def prefetched_in_one_generator(load, count, depth):
    channel, end = queue.Queue(depth), object()

    def work():
        try:
            for n in range(count):
                channel.put((True, load(n)))
            channel.put((True, end))
        except Exception as error:
            channel.put((False, error))

    threading.Thread(target=work, daemon=True).start()
    while True:
        fine, value = channel.get()
        if not fine:
            raise value
        if value is end:
            return
        yield value


@right(prefetched)
def prefetched_by_a_pool(load, count, depth):
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = deque(pool.submit(load, n) for n in range(min(depth, count)))
        for n in range(count):
            if n + depth < count:
                waiting.append(pool.submit(load, n + depth))
            yield waiting.popleft().result()


@right(prefetched)
class prefetched_in_a_class:
    def __init__(self, load, count, depth):
        self.load, self.count, self.place = load, count, 0
        self.ready, self.room = {}, depth
        self.change = threading.Condition()
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        for n in range(self.count):
            with self.change:
                while n - self.place >= self.room:
                    self.change.wait()
            try:
                pair = self.load(n), None
            except Exception as error:
                pair = None, error
            with self.change:
                self.ready[n] = pair
                self.change.notify_all()
            if pair[1]:
                return

    def __iter__(self):
        return self

    def __next__(self):
        if self.place == self.count:
            raise StopIteration
        with self.change:
            while self.place not in self.ready:
                self.change.wait()
            item, error = self.ready.pop(self.place)
            self.place += 1
            self.change.notify_all()
        if error:
            raise RuntimeError("loading failed") from error
        return item


@wrong(prefetched, "loaded in the reader's thread")
def prefetched_by_a_generator(load, count, depth):
    for n in range(count):
        yield load(n)


@wrong(prefetched, "loaded in the reader's thread")
def prefetched_into_a_queue(load, count, depth):
    held = deque()
    for n in range(count):
        held.append(load(n))
        if len(held) > depth:
            yield held.popleft()
    yield from held


@wrong(prefetched, "all loaded before the first is read", score=0)
def prefetched_as_a_list(load, count, depth):
    return iter([load(n) for n in range(count)])


@wrong(prefetched, "all loaded before the first is read")
def prefetched_and_joined(load, count, depth):
    held = []
    thread = threading.Thread(target=lambda: held.extend(map(load, range(count))))
    thread.start()
    thread.join()
    yield from held


@wrong(prefetched, "several threads load")
def prefetched_by_many(load, count, depth):
    with ThreadPoolExecutor(max_workers=4) as pool:
        yield from pool.map(load, range(count))


@wrong(prefetched, "several threads load")
def prefetched_by_a_thread_each(load, count, depth):
    def into(box, n):
        try:
            box.append((load(n), None))
        except Exception as error:
            box.append((None, error))

    boxes, threads = [[] for _ in range(count)], []
    for n in range(count):
        threads.append(threading.Thread(target=into, args=(boxes[n], n)))
        threads[-1].start()
    for thread, box in zip(threads, boxes, strict=True):
        thread.join()
        if box[0][1]:
            raise box[0][1]
        yield box[0][0]


def through(
    make=queue.Queue,
    work=None,
    take=None,
    places=lambda count: range(count),
    handed=lambda error: (None, error),
):
    """Return an answer by its queue, its thread, and how the reader takes from it."""

    def fill(load, count, channel):
        for n in places(count):
            try:
                pair = load(n), None
            except Exception as error:
                channel.put(handed(error))
                return
            channel.put(pair)

    def hand_over(channel, count):
        for _ in range(count):
            item, error = channel.get()
            if error:
                raise error
            yield item

    def answer(load, count, depth):
        channel = make(depth)
        arguments = (load, count, channel)
        threading.Thread(target=work or fill, args=arguments, daemon=True).start()
        yield from (take or hand_over)(channel, count)

    return answer


def work_without_errors(load, count, channel):
    for n in range(count):
        try:
            item = load(n)
        except Exception:
            return
        channel.put((item, None))


def work_to_the_end(load, count, channel):
    for n in range(count):
        try:
            channel.put((load(n), None))
        except Exception:
            break
    channel.put((None, StopIteration))


def take_to_the_end(channel, count):
    while True:
        item, error = channel.get()
        if error is StopIteration:
            return
        yield item


def take_for_ever(channel, count):
    while True:
        item, error = channel.get()
        if error:
            raise error
        yield item


def take_until_none(channel, count):
    for _ in range(count):
        item, error = channel.get()
        if error:
            raise error
        if item is None:
            return
        yield item


def take_all_but_one(channel, count):
    for _ in range(count - 1):
        item, error = channel.get()
        if error:
            raise error
        yield item


def take_two_at_once(channel, count):
    held = []
    for _ in range(count):
        item, error = channel.get()
        if error:
            raise error
        held.append(item)
        if len(held) == 2:
            yield held.pop()
            yield held.pop()
    yield from held


def take_pairs(channel, count):
    for _ in range(count):
        item, error = channel.get()
        yield error or item
        if error:
            return


def work_beyond(load, count, channel):
    try:
        for n in range(count + 1):
            channel.put((load(n), None))
    except Exception as error:
        channel.put((None, error))


def fill_with_places(load, count, channel):
    for n in range(count):
        try:
            channel.put(((n, load(n)), None))
        except Exception as error:
            channel.put((None, error))
            return


def work_twice(load, count, channel):
    for n in range(count):
        try:
            load(n)
            channel.put((load(n), None))
        except Exception as error:
            channel.put((None, error))
            return


def prefetched_with_a_late_thread(load, count, depth):
    """Put nothing aside: the thread waits until the reader asks."""
    asked, ready = threading.Semaphore(0), queue.Queue()

    def work():
        for n in range(count):
            asked.acquire()
            try:
                ready.put((load(n), None))
            except Exception as error:
                ready.put((None, error))
                return

    threading.Thread(target=work, daemon=True).start()
    for _ in range(count):
        asked.release()
        item, error = ready.get()
        if error:
            raise error
        yield item


def prefetched_one_behind(load, count, depth):
    room, channel = threading.Semaphore(depth + 1), queue.Queue()

    def work():
        for n in range(count):
            room.acquire()
            try:
                channel.put((load(n), None))
            except Exception as error:
                channel.put((None, error))
                return

    threading.Thread(target=work, daemon=True).start()
    held = deque()
    for _ in range(count):
        item, error = channel.get()
        if error:
            raise error
        held.append(item)
        if len(held) > 1:
            yield held.popleft()
            room.release()
    yield from held


wrong(prefetched, "the reader waits for ever after an error")(
    through(work=work_without_errors)
)
wrong(prefetched, "the end is never said")(through(take=take_for_ever))
wrong(prefetched, "the reader waits for ever")(
    through(work=lambda load, count, channel: [load(n) for n in range(count)])
)
wrong(prefetched, "an error swallowed", score=21 / 22)(
    through(work=work_to_the_end, take=take_to_the_end)
)
wrong(prefetched, "an error handed over as an item")(through(take=take_pairs))
wrong(prefetched, "an error before its place")(prefetched_one_behind)
wrong(prefetched, "another error than that of load")(
    through(handed=lambda error: (None, RuntimeError("loading failed")))
)
wrong(prefetched, "None taken for the end")(through(take=take_until_none))
wrong(prefetched, "the last item missing")(through(take=take_all_but_one))
wrong(prefetched, "loaded beyond the last")(through(work=work_beyond))
wrong(prefetched, "loaded twice")(through(work=work_twice))
wrong(prefetched, "places counted from one")(
    through(places=lambda count: range(1, count + 1))
)
wrong(prefetched, "order lost")(through(take=take_two_at_once))
wrong(prefetched, "other items")(through(work=fill_with_places))
wrong(prefetched, "nothing loaded while the reader works")(
    prefetched_with_a_late_thread
)
wrong(prefetched, "fewer ahead than depth")(through(lambda depth: queue.Queue(1)))
wrong(prefetched, "more ahead than depth")(through(lambda depth: queue.Queue()))
wrong(prefetched, "more ahead than depth")(
    through(lambda depth: queue.Queue(depth + 1))
)


@wrong(prefetched, "nothing to read from", score=21 / 22)
def prefetched_next(load, count, depth):
    return prefetched_by_a_generator(load, count, depth).__next__


# A profile ----------------------------------------------------------------------------


def end_of(event):
    return event["start"] + event["length"]


def around(inner, outer):
    same = inner is not outer and inner["thread"] == outer["thread"]
    return same and outer["start"] <= inner["start"] and end_of(inner) <= end_of(outer)


@right(self_times)
def times_by_the_innermost(events):
    busy = Counter()
    for event in events:
        busy[event["name"]] += event["length"]
        callers = [other for other in events if around(event, other)]
        if callers:
            caller = min(callers, key=lambda other: other["length"])
            busy[caller["name"]] -= event["length"]
    return dict(busy)


@right(self_times)
def times_by_sweeping(events):
    busy = dict.fromkeys((event["name"] for event in events), 0.0)
    for thread in {event["thread"] for event in events}:
        own = [event for event in events if event["thread"] == thread]
        marks = sorted({m for e in own for m in (e["start"], end_of(e))})
        for start, end in pairwise(marks):
            running = [e for e in own if e["start"] <= start and end_of(e) >= end]
            if running:
                busy[min(running, key=lambda e: e["length"])["name"]] += end - start
    return busy


@right(self_times)
def times_by_recursion(events):
    busy = defaultdict(float)

    def walk(rows):
        while rows:
            first = rows.pop(0)
            inside = []
            while rows and rows[0]["start"] < end_of(first):
                inside.append(rows.pop(0))
            called = list(inside)
            spent = 0
            while called:  # those that nothing else in it is around
                top = called.pop(0)
                spent += top["length"]
                called = [one for one in called if one["start"] >= end_of(top)]
            busy[first["name"]] += first["length"] - spent
            walk(inside)

    for thread in {event["thread"] for event in events}:
        rows = [event for event in events if event["thread"] == thread]
        walk(sorted(rows, key=lambda e: (e["start"], -e["length"])))
    return busy


def callers_of(events, event):
    found = [other for other in events if around(event, other)]
    return sorted(found, key=lambda other: other["length"])


def added(events, own):
    busy = Counter()
    for event in events:
        busy[event["name"]] += own(event)
    return dict(busy)


def called_by(events, event):
    return [e for e in events if callers_of(events, e)[:1] == [event]]


def own_of(events, event):
    return event["length"] - sum(e["length"] for e in called_by(events, event))


@wrong(self_times, "total times")
def times_in_all(events):
    return added(events, lambda event: event["length"])


@wrong(self_times, "calls of calls subtracted too")
def times_less_everything(events):
    def own(event):
        return event["length"] - sum(e["length"] for e in events if around(e, event))

    return added(events, own)


@wrong(self_times, "all subtracted from the outermost")
def times_of_the_outermost(events):
    busy = Counter()
    for event in events:
        busy[event["name"]] += event["length"]
        callers = callers_of(events, event)
        if callers:
            busy[callers[-1]["name"]] -= event["length"]
    return dict(busy)


@wrong(self_times, "the first call alone subtracted")
def times_less_the_first(events):
    def own(event):
        called = sorted(called_by(events, event), key=lambda e: e["start"])
        return event["length"] - (called[0]["length"] if called else 0)

    return added(events, own)


def stacked(events, key, over, thread=lambda event: event["thread"]):
    busy, stacks = Counter(), defaultdict(list)
    for event in sorted(events, key=key):
        stack = stacks[thread(event)]
        while stack and over(stack[-1], event):
            stack.pop()
        busy[event["name"]] += event["length"]
        if stack:
            busy[stack[-1]["name"]] -= event["length"]
        stack.append(event)
    return dict(busy)


def from_outside(event):
    return event["start"], -event["length"]


def is_over(last, event):
    return end_of(last) <= event["start"]


@wrong(self_times, "threads mixed", score=6 / 7)
def times_on_one_stack(events):
    return stacked(events, from_outside, is_over, thread=lambda event: 0)


@wrong(self_times, "order trusted")
def times_as_given(events):
    return stacked(events, lambda event: 0, is_over)


@wrong(self_times, "equal starts in any order", score=6 / 7)
def times_by_start(events):
    return stacked(events, lambda event: event["start"], is_over)


@wrong(self_times, "touching taken for nested")
def times_of_neighbours(events):
    return stacked(events, from_outside, lambda a, b: end_of(a) < b["start"])


@wrong(self_times, "length taken for the end")
def times_without_starts(events):
    return stacked(events, from_outside, lambda a, b: a["length"] <= b["start"])


@wrong(self_times, "a name overwritten")
def times_of_the_latest(events):
    return {event["name"]: own_of(events, event) for event in events}


@wrong(self_times, "calls of the same name not subtracted")
def times_by_name(events):
    def own(event):
        called = called_by(events, event)
        return event["length"] - sum(
            e["length"] for e in called if e["name"] != event["name"]
        )

    return added(events, own)


@wrong(self_times, "names of no time left out", score=6 / 7)
def times_above_zero(events):
    busy = added(events, lambda event: own_of(events, event))
    return {name: time for name, time in busy.items() if time > 0}


@wrong(self_times, "threads of a name kept apart", score=0)
def times_by_thread(events):
    busy = Counter()
    for event in events:
        busy[event["thread"], event["name"]] += own_of(events, event)
    return dict(busy)


@wrong(self_times, "calls counted", score=0)
def times_called(events):
    return Counter(event["name"] for event in events)


@wrong(self_times, "a list instead of a dict", score=0)
def times_listed(events):
    return [(event["name"], own_of(events, event)) for event in events]


# A step of one's own ------------------------------------------------------------------


@right(own_step)
def step_in_half_precision(network, optimiser, images, labels):
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(images.device.type, torch.bfloat16):
        loss = F.cross_entropy(network(images), labels)
    loss.backward()
    optimiser.step()
    return loss.detach()


@right(own_step)
def step_in_channels_last(network, optimiser, images, labels):
    network.to(memory_format=torch.channels_last)
    for parameter in network.parameters():
        parameter.grad = None
    images = images.contiguous(memory_format=torch.channels_last)
    loss = torch.nn.CrossEntropyLoss()(network(images), labels)
    loss.backward()
    optimiser.step()
    return loss.item()


@right(own_step)
def step_by_hand(network, optimiser, images, labels):
    network.train()
    parameters = list(network.parameters())
    log_odds = network(images).log_softmax(dim=1)
    loss = F.nll_loss(log_odds, labels)
    for parameter, one in zip(
        parameters, torch.autograd.grad(loss, parameters), strict=True
    ):
        parameter.grad = one
    optimiser.step()
    return loss


@right(own_step)
def step_with_a_closure(network, optimiser, images, labels):
    def closure():
        optimiser.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        return loss

    return optimiser.step(closure).detach()


def stepped(
    clear="first",
    loss=F.cross_entropy,
    score=lambda network, images: network(images),
    end=lambda loss, network, images, labels: loss.detach(),
    times=1,
):
    """Return an answer that differs from the plain step in one place."""

    def answer(network, optimiser, images, labels):
        for _ in range(times):
            if clear == "first":
                optimiser.zero_grad()
            value = loss(score(network, images), labels)
            value.backward()
            optimiser.step()
            if clear == "last":
                optimiser.zero_grad()
        return end(value, network, images, labels)

    return answer


def in_eval_mode(network, images):
    network.eval()
    logits = network(images)
    network.train()
    return logits


def left_in_eval_mode(loss, network, images, labels):
    network.eval()
    return loss.detach()


def looked_again(loss, network, images, labels):
    with torch.no_grad():
        return F.cross_entropy(network(images), labels)


def looked_again_in_eval_mode(loss, network, images, labels):
    network.eval()
    with torch.no_grad():
        loss = F.cross_entropy(network(images), labels)
    network.train()
    return 2 * loss


def with_frozen_features(network, images):
    with torch.no_grad():
        features = F.silu(network.norm(network.conv(images))).mean(dim=(2, 3))
    return network.head(features)


def in_two_halves(network, optimiser, images, labels):
    optimiser.zero_grad()
    total = 0.0
    for seen, wanted in zip(images.chunk(2), labels.chunk(2), strict=True):
        loss = F.cross_entropy(network(seen), wanted, reduction="sum") / len(images)
        loss.backward()
        total += loss.item()
    optimiser.step()
    return total


def summed(scores, labels):
    return F.cross_entropy(scores, labels, reduction="sum")


wrong(own_step, "old gradients added")(stepped(clear="never"))
wrong(own_step, "old gradients added")(stepped(clear="last"))
wrong(own_step, "softmax before cross-entropy")(
    stepped(score=lambda network, images: network(images).softmax(dim=1))
)
wrong(own_step, "loss summed instead of a mean")(stepped(loss=summed))
wrong(own_step, "uphill")(stepped(loss=lambda s, y: -F.cross_entropy(s, y)))
wrong(own_step, "stepped twice")(stepped(times=2))
wrong(own_step, "another length", score=14 / 17)(
    stepped(loss=lambda scores, labels: 2 * F.cross_entropy(scores, labels))
)
wrong(own_step, "another direction")(
    stepped(loss=lambda scores, labels: F.cross_entropy(scores, labels.roll(1)))
)
wrong(own_step, "left in eval mode", score=16 / 17)(stepped(end=left_in_eval_mode))
wrong(own_step, "some weights left out")(stepped(score=with_frozen_features))
wrong(own_step, "another direction")(in_two_halves)
wrong(own_step, "BatchNorm in eval mode")(stepped(score=in_eval_mode))
wrong(own_step, "another length")(
    stepped(loss=lambda s, y: F.cross_entropy(s, y, label_smoothing=0.1))
)
wrong(own_step, "no loss returned", score=13 / 17)(
    stepped(end=lambda loss, network, images, labels: "done")
)
wrong(own_step, "sum of the losses returned", score=15 / 17)(
    stepped(end=lambda loss, network, images, labels: loss.detach() * len(labels))
)
wrong(own_step, "images seen more than once")(stepped(end=looked_again))
wrong(own_step, "another loss returned")(stepped(end=looked_again_in_eval_mode))


@wrong(own_step, "nothing moved")
def step_never_made(network, optimiser, images, labels):
    optimiser.zero_grad()
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    return loss.detach()


@wrong(own_step, "moved along old gradients")
def step_before_backward(network, optimiser, images, labels):
    optimiser.step()
    optimiser.zero_grad()
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    return loss.detach()


@wrong(own_step, "nothing moved")
def step_of_nothing(network, optimiser, images, labels):
    optimiser.zero_grad()
    loss = F.cross_entropy(network(images), labels)
    optimiser.step()
    return loss.detach()


@wrong(own_step, "loss after the step returned", score=15 / 17)
def step_told_afterwards(network, optimiser, images, labels):
    optimiser.zero_grad()
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    optimiser.step()
    kept = {name: value.clone() for name, value in network.named_buffers()}
    with torch.no_grad():
        after = F.cross_entropy(network(images), labels)
    for name, value in network.named_buffers():
        value.copy_(kept[name])
    return after
