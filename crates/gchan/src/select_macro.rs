//! `select!` and `select_biased!`, with the grammar that users of `crossbeam-channel` write.
//!
//! `@parse` takes one case after the other off the tokens and puts it, in one normal form, on a list. `@bind` evaluates
//! the channel expressions, one nested `match` per case, so that temporaries live as long as the select. `@choose`
//! runs the select, and `@arms` completes the chosen operation before its body starts.

/// Waits for the first of several channel operations and runs its arm. May park.
///
/// Among ready operations one is chosen uniformly at random. Arms are
/// - `recv(receiver) -> result => body`, where `result` is a `Result<T, RecvError>`,
/// - `send(sender, value) -> result => body`, where the value is evaluated only if the send is chosen and `result` is a
///   `Result<(), SendError<T>>`,
/// - `default => body`, taken if at one instant nothing is ready, or `default(timeout) => body`, taken if nothing
///   becomes ready in time; at most one of them.
///
/// Without arms it waits for ever.
///
/// ```
/// use gchan::{select, unbounded};
///
/// let (s1, r1) = unbounded();
/// let (s2, r2) = unbounded::<&str>();
/// s1.send(1).unwrap();
/// let told = select! {
///     recv(r1) -> n => format!("number {}", n.unwrap()),
///     recv(r2) -> word => format!("word {}", word.unwrap()),
///     default => "nothing".to_string(),
/// };
/// assert_eq!(told, "number 1");
/// # drop(s2);
/// ```
///
/// What is neither a case nor a `default` does not compile:
///
/// ```compile_fail
/// gchan::select! { receive(r) -> _ => {} }
/// ```
///
/// And there is at most one `default`:
///
/// ```compile_fail
/// gchan::select! { default => {} default => {} }
/// ```
#[macro_export]
macro_rules! select {
    ($($tokens:tt)*) => {
        $crate::__select!(@parse [false] [] [] $($tokens)*)
    };
}

/// As [`select!`](crate::select), but of several ready operations always the first is chosen.
///
/// ```
/// let (s1, r1) = gchan::unbounded();
/// let (s2, r2) = gchan::unbounded();
/// s1.send(1).unwrap();
/// s2.send(2).unwrap();
/// gchan::select_biased! {
///     recv(r1) -> n => assert_eq!(n, Ok(1)),
///     recv(r2) -> _ => unreachable!(),
/// }
/// ```
#[macro_export]
macro_rules! select_biased {
    ($($tokens:tt)*) => {
        $crate::__select!(@parse [true] [] [] $($tokens)*)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // All parsed.
    (@parse $biased:tt [$($cases:tt)*] $default:tt) => {
        $crate::__select!(@bind $biased $default [] 0; $($cases)*)
    };

    // Receives: a block body needs no comma, other bodies do unless they are last.
    (@parse $b:tt [$($cases:tt)*] $d:tt recv($r:expr $(,)?) -> $res:pat => $body:block , $($rest:tt)*) => {
        $crate::__select!(@parse $b [$($cases)* {recv ($r) ($res) $body}] $d $($rest)*)
    };
    (@parse $b:tt [$($cases:tt)*] $d:tt recv($r:expr $(,)?) -> $res:pat => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse $b [$($cases)* {recv ($r) ($res) $body}] $d $($rest)*)
    };
    (@parse $b:tt [$($cases:tt)*] $d:tt recv($r:expr $(,)?) -> $res:pat => $body:expr , $($rest:tt)*) => {
        $crate::__select!(@parse $b [$($cases)* {recv ($r) ($res) $body}] $d $($rest)*)
    };
    (@parse $b:tt [$($cases:tt)*] $d:tt recv($r:expr $(,)?) -> $res:pat => $body:expr) => {
        $crate::__select!(@parse $b [$($cases)* {recv ($r) ($res) $body}] $d)
    };

    // Sends.
    (@parse $b:tt [$($cases:tt)*] $d:tt send($s:expr, $m:expr $(,)?) -> $res:pat => $body:block , $($rest:tt)*) => {
        $crate::__select!(@parse $b [$($cases)* {send ($s) ($m) ($res) $body}] $d $($rest)*)
    };
    (@parse $b:tt [$($cases:tt)*] $d:tt send($s:expr, $m:expr $(,)?) -> $res:pat => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse $b [$($cases)* {send ($s) ($m) ($res) $body}] $d $($rest)*)
    };
    (@parse $b:tt [$($cases:tt)*] $d:tt send($s:expr, $m:expr $(,)?) -> $res:pat => $body:expr , $($rest:tt)*) => {
        $crate::__select!(@parse $b [$($cases)* {send ($s) ($m) ($res) $body}] $d $($rest)*)
    };
    (@parse $b:tt [$($cases:tt)*] $d:tt send($s:expr, $m:expr $(,)?) -> $res:pat => $body:expr) => {
        $crate::__select!(@parse $b [$($cases)* {send ($s) ($m) ($res) $body}] $d)
    };

    // The default, once.
    (@parse $b:tt $cases:tt [] default => $($rest:tt)*) => {
        $crate::__select!(@parse $b $cases [] default() => $($rest)*)
    };
    (@parse $b:tt $cases:tt [] default($($t:expr $(,)?)?) => $body:block , $($rest:tt)*) => {
        $crate::__select!(@parse $b $cases [($($t)?) $body] $($rest)*)
    };
    (@parse $b:tt $cases:tt [] default($($t:expr $(,)?)?) => $body:block $($rest:tt)*) => {
        $crate::__select!(@parse $b $cases [($($t)?) $body] $($rest)*)
    };
    (@parse $b:tt $cases:tt [] default($($t:expr $(,)?)?) => $body:expr , $($rest:tt)*) => {
        $crate::__select!(@parse $b $cases [($($t)?) $body] $($rest)*)
    };
    (@parse $b:tt $cases:tt [] default($($t:expr $(,)?)?) => $body:expr) => {
        $crate::__select!(@parse $b $cases [($($t)?) $body])
    };
    (@parse $b:tt $cases:tt [$($d:tt)+] default $($rest:tt)*) => {
        ::core::compile_error!("a select has at most one `default`")
    };
    (@parse $b:tt $cases:tt $d:tt $($rest:tt)*) => {
        ::core::compile_error!(::core::concat!(
            "expected `recv(receiver) -> result => body`, `send(sender, value) -> result => body`, ",
            "`default => body` or `default(timeout) => body`, with a comma after a body that is not a block, at: ",
            ::core::stringify!($($rest)*)
        ))
    };

    // Evaluate the channels.
    (@bind $b:tt $d:tt [$($done:tt)*] $i:expr; {recv ($r:expr) $res:tt $body:expr} $($rest:tt)*) => {
        match $r {
            ref _r => {
                let _r: &$crate::Receiver<_> = _r;
                $crate::__select!(@bind $b $d [$($done)* {recv _r ($i) $res $body}] $i + 1; $($rest)*)
            }
        }
    };
    (@bind $b:tt $d:tt [$($done:tt)*] $i:expr; {send ($s:expr) $m:tt $res:tt $body:expr} $($rest:tt)*) => {
        match $s {
            ref _s => {
                let _s: &$crate::Sender<_> = _s;
                $crate::__select!(@bind $b $d [$($done)* {send _s ($i) $m $res $body}] $i + 1; $($rest)*)
            }
        }
    };
    (@bind [$biased:expr] $d:tt [$({$kind:ident $h:ident ($i:expr) $($more:tt)*})*] $n:expr;) => {{
        let _cases: &[$crate::internal::Case<'_>] = &[
            $($crate::__select!(@case $kind $h ($i))),*
        ];
        $crate::__select!(@choose _cases $biased, $d [$({$kind $h ($i) $($more)*})*])
    }};

    (@case recv $h:ident ($i:expr)) => { $crate::internal::recv_case($h, $i) };
    (@case send $h:ident ($i:expr)) => { $crate::internal::send_case($h, $i) };

    // Run it.
    (@choose $cases:ident $biased:expr, [] $arms:tt) => {{
        let mut _chosen = $crate::internal::Choice::none();
        _chosen.choose($cases, $biased);
        $crate::__select!(@arms _chosen $arms)
    }};
    (@choose $cases:ident $biased:expr, [() $default:expr] $arms:tt) => {{
        let mut _chosen = $crate::internal::Choice::none();
        if _chosen.try_choose($cases, $biased) {
            $crate::__select!(@arms _chosen $arms)
        } else {
            ::core::mem::drop(_chosen);
            $default
        }
    }};
    (@choose $cases:ident $biased:expr, [($timeout:expr) $default:expr] $arms:tt) => {{
        let mut _chosen = $crate::internal::Choice::none();
        if _chosen.choose_within($cases, $biased, $timeout) {
            $crate::__select!(@arms _chosen $arms)
        } else {
            ::core::mem::drop(_chosen);
            $default
        }
    }};

    // The choice is moved out in every branch, so that no borrow of a channel lasts into a body.
    (@arms $chosen:ident []) => {{
        ::core::mem::drop($chosen);
        ::core::unreachable!("a select chose a case that it has not")
    }};
    (@arms $chosen:ident [{recv $r:ident ($i:expr) ($res:pat) $body:expr} $($rest:tt)*]) => {
        if $chosen.index() == $i {
            let $res = $chosen.recv($r);
            $body
        } else {
            $crate::__select!(@arms $chosen [$($rest)*])
        }
    };
    (@arms $chosen:ident [{send $s:ident ($i:expr) ($m:expr) ($res:pat) $body:expr} $($rest:tt)*]) => {
        if $chosen.index() == $i {
            let $res = $chosen.send($s, $m);
            $body
        } else {
            $crate::__select!(@arms $chosen [$($rest)*])
        }
    };
}

/// The name under which crossbeam's own tests reach the macro.
#[doc(hidden)]
#[macro_export]
macro_rules! crossbeam_channel_internal {
    ($($tokens:tt)*) => {
        $crate::select! { $($tokens)* }
    };
}
