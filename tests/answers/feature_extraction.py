"""Answers to the exercises of chapter 02, as readers write them."""

import math

import numpy as np
import torch
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from answers.kit import right, wrong
from course.exercises import feature_extraction as chapter


@right(chapter.average_pool)
def pool_by_loops(maps):
    rows = []
    for picture in maps:
        row = []
        for channel in picture:
            row.append(sum(channel.flatten().tolist()) / channel.numel())
        rows.append(row)
    return rows


@right(chapter.average_pool)
def pool_twice(m):
    return m.mean(-1).mean(-1)


@right(chapter.average_pool)
def pool_with_numpy(maps):
    return maps.numpy().mean(axis=(2, 3))


@right(chapter.average_pool)
def pool_with_a_layer(maps):
    return torch.nn.AdaptiveAvgPool2d(1)(maps).flatten(1)


@right(chapter.average_pool)
def pool_by_sum(x):
    h, w = x.shape[2:]
    return torch.einsum("nchw->nc", x) / (h * w)


@wrong(chapter.average_pool, "the maximum")
def pool_max(maps):
    return F.adaptive_max_pool2d(maps, 1).flatten(1)


@wrong(chapter.average_pool, "the sum")
def pool_sum(maps):
    total = 0
    for i in range(maps.shape[2]):
        for j in range(maps.shape[3]):
            total = total + maps[:, :, i, j]
    return total


@wrong(chapter.average_pool, "dimensions of one kept")
def pool_adaptive(maps):
    return F.adaptive_avg_pool2d(maps, (1, 1))


@wrong(chapter.average_pool, "flattened")
def pool_flat(maps):
    return maps.reshape(len(maps), -1)


@wrong(chapter.average_pool, "mean over the wrong axis")
def pool_channels(maps):
    return maps.mean(1)


@wrong(chapter.average_pool, "channels taken for the last axis")
def pool_channels_last(maps):
    return maps.mean(1).mean(1)


@wrong(chapter.average_pool, "mean over the pictures too")
def pool_batch(maps):
    return maps.permute(1, 0, 2, 3).flatten(1).mean(1)


@wrong(chapter.average_pool, "one number for each picture")
def pool_each_picture(maps):
    return torch.stack([picture.mean() for picture in maps])


@wrong(chapter.average_pool, "one number for everything")
def pool_all(maps):
    return float(np.mean(maps.numpy()))


@wrong(chapter.average_pool, "one direction only")
def pool_last(maps):
    return maps.mean(-1)


@wrong(chapter.average_pool, "squeeze takes too much", score=2 / 3)
def pool_squeezed(maps):
    return maps.mean(dim=(2, 3), keepdim=True).squeeze()


@wrong(chapter.average_pool, "taken to be square", score=1 / 3)
def pool_square(maps):
    side = maps.size(2)
    return maps.flatten(2).sum(-1) / (side * side)


@right(chapter.accuracy)
def accuracy_with_numpy(logits, labels):
    return np.mean(logits.numpy().argmax(axis=1) == labels.numpy())


@right(chapter.accuracy)
def accuracy_of_probabilities(logits, labels):
    predicted = torch.softmax(logits, dim=-1).max(dim=-1).indices
    return (predicted == labels).sum() / labels.numel()


@right(chapter.accuracy)
def accuracy_in_a_loop(logits, labels):
    hits = []
    for scores, label in zip(logits.tolist(), labels.tolist(), strict=True):
        hits.append(scores.index(max(scores)) == label)
    return hits.count(True) / len(hits)


@right(chapter.accuracy)
def accuracy_by_errors(logits, labels):
    errors = torch.count_nonzero(logits.topk(1).indices.squeeze(1) - labels)
    return 1 - errors / len(labels)


@wrong(chapter.accuracy, "how many, not which share")
def accuracy_counted(logits, labels):
    return sum(int(p == y) for p, y in zip(logits.argmax(1), labels, strict=True))


@wrong(chapter.accuracy, "in percent")
def accuracy_percent(logits, labels):
    return (logits.argmax(1) == labels).float().mean() * 100


@wrong(chapter.accuracy, "the share of errors")
def accuracy_error(logits, labels):
    return 1 - (logits.argmax(1) == labels).float().mean().item()


@wrong(chapter.accuracy, "argmax over the images")
def accuracy_axis(logits, labels):
    predicted = logits.argmax(axis=0)
    return (predicted == labels).float().mean().item()


@wrong(chapter.accuracy, "argmax over the whole table")
def accuracy_no_dim(logits, labels):
    return torch.mean((torch.argmax(logits) == labels).float())


@wrong(chapter.accuracy, "broadcast instead of pairwise")
def accuracy_broadcast(logits, labels):
    predicted = logits.topk(1, dim=1).indices
    return (predicted == labels).float().mean().item()


@wrong(chapter.accuracy, "divided by the classes", score=1 / 3)
def accuracy_by_classes(logits, labels):
    hits = (logits.argmax(1) == labels).sum().item()
    return hits / len(logits[0])


@wrong(chapter.accuracy, "rounded down", score=1 / 3)
def accuracy_rounded(logits, labels):
    return (logits.argmax(1) == labels).sum().item() // logits.shape[0]


@wrong(chapter.accuracy, "the smallest logit")
def accuracy_smallest(logits, labels):
    return (logits.min(dim=1).indices == labels).float().mean().item()


@wrong(chapter.accuracy, "confidence instead of accuracy")
def accuracy_confidence(logits, labels):
    probability = F.softmax(logits, dim=1)
    return probability.gather(1, labels[:, None]).mean().item()


@wrong(chapter.accuracy, "more than half, not the most")
def accuracy_half(logits, labels):
    probability = F.softmax(logits, dim=1)
    own = torch.stack([p[y] for p, y in zip(probability, labels, strict=True)])
    return (own > 0.5).float().mean().item()


@wrong(chapter.accuracy, "one answer for each image")
def accuracy_each(logits, labels):
    return logits.argmax(1) == labels


@right(chapter.nearest)
def nearest_in_a_loop(bank, query, k):
    cosines = []
    for place, row in enumerate(bank.tolist()):
        dot = sum(a * b for a, b in zip(row, query.tolist(), strict=True))
        cosines.append((dot / math.hypot(*row) / math.hypot(*query), place))
    return [place for _, place in sorted(cosines, reverse=True)[:k]]


@right(chapter.nearest)
def nearest_with_numpy(bank, query, k):
    bank, query = np.asarray(bank), np.asarray(query)
    lengths = np.linalg.norm(bank, axis=1) * np.linalg.norm(query)
    return np.argsort(-(bank @ query) / lengths)[:k]


@right(chapter.nearest)
def nearest_with_a_function(bank, query, k):
    similarity = F.cosine_similarity(bank, query[None], dim=1)
    return similarity.argsort(descending=True)[:k]


@right(chapter.nearest)
def nearest_by_distance_of_directions(bank, query, k):
    unit = bank / bank.norm(dim=1, keepdim=True)
    distance = torch.cdist(unit, F.normalize(query, dim=0)[None]).squeeze(1)
    return distance.topk(k, largest=False)[1]


@wrong(chapter.nearest, "a dot product", score=1 / 3)
def nearest_dot(bank, query, k):
    return torch.mv(bank, query).argsort(descending=True)[:k]


@wrong(chapter.nearest, "the farthest")
def nearest_farthest(bank, query, k):
    return F.cosine_similarity(bank, query[None]).argsort()[:k]


@wrong(chapter.nearest, "the Euclidean distance", score=1 / 3)
def nearest_euclid(bank, query, k):
    return torch.cdist(bank, query[None]).flatten().argsort()[:k]


@wrong(chapter.nearest, "similarities and not indices")
def nearest_values(bank, query, k):
    return F.cosine_similarity(bank, query[None]).topk(k)[0]


@wrong(chapter.nearest, "the most similar last", score=1 / 3)
def nearest_last(bank, query, k):
    cosine = (bank @ query / bank.norm(dim=1)).numpy()
    return np.argsort(cosine)[-k:]


@wrong(chapter.nearest, "normalised over the wrong axis")
def nearest_axis(bank, query, k):
    unit = bank / bank.norm(dim=0)
    return (unit @ (query / query.norm())).topk(k).indices


@wrong(chapter.nearest, "the opposite counted as near")
def nearest_opposite(bank, query, k):
    return F.cosine_similarity(bank, query[None]).square().topk(k).indices


@wrong(chapter.nearest, "the nearest left out")
def nearest_skipped(bank, query, k):
    order = F.cosine_similarity(bank, query[None]).argsort(descending=True)
    return order[1 : k + 1]


@wrong(chapter.nearest, "rows and not indices")
def nearest_rows(bank, query, k):
    order = F.cosine_similarity(bank, query[None]).argsort(descending=True)
    return torch.stack([bank[place] for place in order[:k]])


@wrong(chapter.nearest, "all and not k")
def nearest_all(bank, query, k):
    cosine = F.cosine_similarity(bank, query[None])
    return sorted(range(len(bank)), key=lambda place: -cosine[place])


@wrong(chapter.nearest, "no dim for the query")
def nearest_no_dim(bank, query, k):
    similarity = F.normalize(bank) @ F.normalize(query).T
    return similarity.topk(k).indices


@wrong(chapter.nearest, "query and bank the wrong way round")
def nearest_turned(bank, query, k):
    similarity = F.normalize(query, dim=0) @ F.normalize(bank, dim=1)
    return torch.argsort(similarity, descending=True)[:k]


@right(chapter.probe_accuracy)
def probe_mended(train, validation, test):
    mean, spread = train[0].mean(dim=0), train[0].std(dim=0)
    spread[spread == 0] = 1.0
    values, labels = (train[0] - mean) / spread, train[1]
    means = torch.stack([values[labels == c].mean(dim=0) for c in labels.unique()])
    found = torch.cdist((test[0] - mean) / spread, means).argmin(dim=1)
    return (found == test[1]).float().mean().item()


@right(chapter.probe_accuracy)
def probe_with_scikit_learn(train, validation, test):
    model = make_pipeline(StandardScaler(), NearestCentroid())
    model.fit(train[0].double().numpy(), train[1].numpy())
    return model.score(test[0].double().numpy(), test[1].numpy())


@right(chapter.probe_accuracy)
def probe_with_numpy(train, validation, test):
    x, y = train[0].double().numpy(), train[1].numpy()
    centre, scale = x.mean(0), x.std(0) + 1e-9
    means = {c: ((x[y == c] - centre) / scale).mean(0) for c in set(y.tolist())}
    hits = 0
    for row, label in zip(test[0].double().numpy(), test[1].tolist(), strict=True):
        asked = (row - centre) / scale
        hits += label == min(means, key=lambda c: np.linalg.norm(asked - means[c]))
    return hits / len(test[1])


@right(chapter.probe_accuracy)
def probe_without_the_constant_features(train, validation, test):
    (x, y), (asked, wanted) = train, test
    alive = x.std(0) > 0
    x, asked = x[:, alive], asked[:, alive]
    scale = x.var(0, correction=0).sqrt()
    x, asked = x / scale, asked / scale  # a shift moves no distance
    means = torch.stack([x[y == c].mean(0) for c in range(int(y.max()) + 1)])
    distance = (asked[:, None] - means[None]).pow(2).sum(-1)
    return (distance.argmin(1) == wanted).double().mean()


@wrong(chapter.probe_accuracy, "accuracy on the training part", score=1 / 3)
def probe_on_train(train, validation, test):
    mean, spread = train[0].mean(dim=0), train[0].std(dim=0)
    spread[spread == 0] = 1.0
    values, labels = (train[0] - mean) / spread, train[1]
    means = torch.stack([values[labels == c].mean(dim=0) for c in labels.unique()])
    found = torch.cdist(values, means).argmin(dim=1)
    return (found == labels).float().mean().item()


@wrong(chapter.probe_accuracy, "standardised with all parts", score=1 / 3)
def probe_scaled_by_all(train, validation, test):
    everything = torch.cat([train[0], validation[0], test[0]])
    mean, spread = everything.mean(dim=0), everything.std(dim=0)
    spread[spread == 0] = 1.0
    values, labels = (train[0] - mean) / spread, train[1]
    means = torch.stack([values[labels == c].mean(dim=0) for c in labels.unique()])
    found = torch.cdist((test[0] - mean) / spread, means).argmin(dim=1)
    return (found == test[1]).float().mean().item()


@wrong(chapter.probe_accuracy, "both bugs left in", score=0)
def probe_rewritten(train, validation, test):
    x = torch.cat([part[0] for part in (train, validation, test)])
    scale = torch.where(x.std(0) == 0, 1.0, x.std(0))
    known, labels = train[0] / scale, train[1]
    means = torch.stack([known[labels == c].mean(0) for c in labels.unique()])
    return (torch.cdist(known, means).argmin(1) == labels).float().mean().item()


@wrong(chapter.probe_accuracy, "accuracy on the validation part")
def probe_on_validation(train, validation, test):
    scale = torch.where(train[0].std(0) == 0, 1.0, train[0].std(0))
    known, labels = train[0] / scale, train[1]
    means = torch.stack([known[labels == c].mean(0) for c in labels.unique()])
    found = torch.cdist(validation[0] / scale, means).argmin(1)
    return (found == validation[1]).float().mean().item()


@wrong(chapter.probe_accuracy, "standardised with train and validation")
def probe_scaled_by_two(train, validation, test):
    known = torch.cat([train[0], validation[0]])
    mean, spread = known.mean(dim=0), known.std(dim=0)
    spread[spread == 0] = 1.0
    values, labels = (train[0] - mean) / spread, train[1]
    means = torch.stack([values[labels == c].mean(dim=0) for c in labels.unique()])
    found = torch.cdist((test[0] - mean) / spread, means).argmin(dim=1)
    return (found == test[1]).float().mean().item()


@wrong(chapter.probe_accuracy, "each part by its own statistics")
def probe_scaled_apart(train, validation, test):
    scaled = []
    for values, _ in (train, test):
        spread = values.std(0)
        spread[spread == 0] = 1.0
        scaled.append((values - values.mean(0)) / spread)
    labels = train[1]
    means = torch.stack([scaled[0][labels == c].mean(0) for c in labels.unique()])
    return (torch.cdist(scaled[1], means).argmin(1) == test[1]).float().mean().item()


@wrong(chapter.probe_accuracy, "the test part not scaled")
def probe_test_raw(train, validation, test):
    mean, spread = train[0].mean(dim=0), train[0].std(dim=0)
    spread[spread == 0] = 1.0
    values, labels = (train[0] - mean) / spread, train[1]
    means = torch.stack([values[labels == c].mean(dim=0) for c in labels.unique()])
    found = torch.cdist(test[0], means).argmin(dim=1)
    return (found == test[1]).float().mean().item()


@wrong(chapter.probe_accuracy, "nothing scaled")
def probe_all_raw(train, validation, test):
    model = NearestCentroid().fit(train[0].double().numpy(), train[1].numpy())
    return model.score(test[0].double().numpy(), test[1].numpy())


@wrong(chapter.probe_accuracy, "class means of the test part")
def probe_learns_from_test(train, validation, test):
    spread = train[0].std(dim=0)
    spread[spread == 0] = 1.0
    values, labels = (test[0] - train[0].mean(dim=0)) / spread, test[1]
    means = torch.stack([values[labels == c].mean(dim=0) for c in labels.unique()])
    return (torch.cdist(values, means).argmin(dim=1) == labels).float().mean().item()


@wrong(chapter.probe_accuracy, "accuracy over all parts")
def probe_over_all(train, validation, test):
    model = make_pipeline(StandardScaler(), NearestCentroid())
    model.fit(train[0].double().numpy(), train[1].numpy())
    values = torch.cat([part[0] for part in (train, validation, test)]).double()
    labels = torch.cat([part[1] for part in (train, validation, test)])
    return model.score(values.numpy(), labels.numpy())


@wrong(chapter.probe_accuracy, "the share of errors")
def probe_errors(train, validation, test):
    model = make_pipeline(StandardScaler(), NearestCentroid())
    model.fit(train[0].double().numpy(), train[1].numpy())
    return np.mean(model.predict(test[0].double().numpy()) != test[1].numpy())


@wrong(chapter.probe_accuracy, "division by a spread of zero", score=2 / 3)
def probe_unguarded(train, validation, test):
    mean, spread = train[0].mean(dim=0), train[0].std(dim=0)
    values, labels = (train[0] - mean) / spread, train[1]
    means = torch.stack([values[labels == c].mean(dim=0) for c in labels.unique()])
    found = torch.cdist((test[0] - mean) / spread, means).argmin(dim=1)
    return (found == test[1]).float().mean().item()


@right(chapter.best_layer)
def layer_in_a_loop(scores):
    best = None
    for layer in scores:
        if best is None or scores[layer]["validation"] > scores[best]["validation"]:
            best = layer
    return best


@right(chapter.best_layer)
def layer_sorted(table):
    order = sorted((parts["validation"], name) for name, parts in table.items())
    return order[-1][1]


@right(chapter.best_layer)
def layer_with_numpy(scores):
    names = np.array(list(scores))
    return names[np.argmax([scores[name]["validation"] for name in names])]


@wrong(chapter.best_layer, "selection on the test part", score=0)
def layer_by_test(scores):
    best, top = None, 0
    for layer, parts in scores.items():
        if parts["test"] > top:
            best, top = layer, parts["test"]
    return best


@wrong(chapter.best_layer, "selection on the training part")
def layer_by_train(scores):
    return sorted(scores, key=lambda layer: scores[layer]["train"])[-1]


@wrong(chapter.best_layer, "the test part has a say")
def layer_by_two(scores):
    def mean(layer):
        return np.mean([scores[layer]["validation"], scores[layer]["test"]])

    return max(scores, key=mean)


@wrong(chapter.best_layer, "the mean of all parts")
def layer_by_mean(scores):
    return max(scores, key=lambda layer: np.mean(list(scores[layer].values())))


@wrong(chapter.best_layer, "the worst layer")
def layer_worst(scores):
    return sorted(scores, key=lambda layer: scores[layer]["validation"])[0]


@wrong(chapter.best_layer, "always the last layer")
def layer_last(scores):
    *_, last = scores
    return last


@wrong(chapter.best_layer, "the smallest gap")
def layer_gap(scores):
    gaps = {k: abs(v["validation"] - v["train"]) for k, v in scores.items()}
    return min(gaps, key=gaps.get)


@wrong(chapter.best_layer, "stopped at the first fall", score=2 / 3)
def layer_greedy(scores):
    best, before = None, -1
    for layer, parts in scores.items():
        if parts["validation"] < before:
            break
        best, before = layer, parts["validation"]
    return best


@wrong(chapter.best_layer, "the score and not the layer")
def layer_score(scores):
    return np.max([parts["validation"] for parts in scores.values()])


@wrong(chapter.best_layer, "the place and not the layer")
def layer_place(scores):
    return int(np.argmax([parts["validation"] for parts in scores.values()]))


@wrong(chapter.best_layer, "names compared")
def layer_names(scores):
    return sorted(scores)[-1]


@wrong(chapter.best_layer, "the part before the layer")
def layer_outside_in(scores):
    validation = scores["validation"]
    return max(validation, key=validation.get)
