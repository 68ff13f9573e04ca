//! The sections of the template file and their fields.

/// One row a section: its name in the program, its name in the file, its fields in the order of the values.
macro_rules! texts {
    ($($text:ident $section:literal [$($field:literal)*];)*) => {
        /// A text or a part of a screen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Text { $(#[doc = concat!("`", $section, "`")] $text,)* }

        impl Text {
            /// All of them.
            pub const ALL: &[Text] = &[$(Text::$text,)*];

            /// The name of the section in the file.
            pub fn section(self) -> &'static str {
                match self { $(Text::$text => $section,)* }
            }

            /// The fields of the section.
            pub fn fields(self) -> &'static [&'static str] {
                match self { $(Text::$text => &[$($field),*],)* }
            }
        }
    };
}

texts! {
    Invalid "error.invalid" ["input"];
    Ambiguous "error.ambiguous" ["input"];
    Incomplete "error.incomplete" [];
    Unrecognized "help.unrecognized" [];

    NameTooLong "error.name-too-long" ["name" "max"];
    BadName "error.bad-name" ["name"];
    RealExists "error.real-exists" ["name"];
    VirtualExists "error.virtual-exists" ["name"];
    AddressInUse "error.address-in-use" ["address" "name"];
    BadAddress "error.bad-address" ["address"];
    NoSuchReal "error.no-such-real" ["name"];
    RealLeaving "error.real-leaving" ["name"];
    NoSuchVirtual "error.no-such-virtual" ["name"];
    NoSuchPort "error.no-such-port" ["port" "name"];
    AlreadyBound "error.already-bound" ["name" "port"];
    NotBound "error.not-bound" ["name" "port"];
    DefaultPort "error.default-port" [];
    NoSuchBlock "error.no-such-block" ["kind" "name"];
    NoSuchLine "error.no-such-line" ["line"];
    Full "error.full" ["what" "max"];
    Unsupported "error.unsupported" ["what"];
    Failed "error.failed" ["why"];

    NoPassword "enable.no-password" [];
    EnableName "enable.name" [];
    EnablePassword "enable.password" [];
    EnableWrong "enable.wrong" [];
    SkipPage "page.skip" [];
    Page "page.on" [];
    WriteMemory "write-memory" [];
    Deleted "server-deleted" ["name"];
    TooManySessions "session.too-many" [];

    BindHead "server-bind.head" [];
    BindVirtual "server-bind.virtual" ["name" "status" "address"];
    BindFirst "server-bind.first" ["port" "real" "address" "real-port" "state"];
    BindNext "server-bind.next" ["port" "real" "address" "real-port" "state"];
    BindNone "server-bind.none" ["port"];
    BindFoot "server-bind.foot" [];
}
